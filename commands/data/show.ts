// `capi data show`: what a source holds, and a contact sheet of it.

import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../src/cli/base.js';

export default class DataShow extends BaseCommand<typeof DataShow> {
  static override summary = 'Show what an image source holds, and write a contact sheet of it.';
  static override description =
    'Prints counts, classes, sizes and channel statistics. The contact sheet shows images spread evenly over the source, each with its label map, if any, beside it. ' +
    'SOURCE is a URI; `capi data list` names the kinds.';
  static override examples = [
    '<%= config.bin %> data show synthetic:scenes',
    '<%= config.bin %> data show fashion-scenes:/usr/share/datasets/fashion-mnist --split test --out garments.png',
    '<%= config.bin %> data show folder:photos --count 100 --json',
  ];
  static override args = { source: Args.string({ description: 'image source', required: true }) };
  static override flags = {
    split: Flags.option({
      description: 'part to show, unless SOURCE names one',
      options: ['train', 'test'] as const,
    })(),
    count: Flags.integer({ description: 'images on the sheet', default: 48, min: 1, max: 1000 }),
    out: Flags.string({
      description: 'PNG file of the contact sheet (default: data-KIND-SPLIT.png)',
      helpValue: 'FILE',
    }),
    force: Flags.boolean({ description: 'overwrite the file if it exists' }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(DataShow);
    const { showSource } = await import('../../src/cli/show_source.js');
    return showSource(args.source, { ...flags, log: (line) => this.log(line) });
  }
}
