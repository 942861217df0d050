// `capi data show`: what a source holds, and a contact sheet of it.

import { Args, Flags } from '@oclif/core';
import { shown } from '../../src/base/text.js';
import { BaseCommand } from '../../src/cli/base.js';
import { columns } from '../../src/cli/table.js';
import type { Survey } from '../../src/inspect/source.js';

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

  async run(): Promise<Survey> {
    const { args, flags } = await this.parse(DataShow);
    const { surveySource } = await import('../../src/inspect/source.js');
    const survey = await surveySource(args.source, flags);
    print(survey, (line) => this.log(line));
    return survey;
  }
}

function print(result: Survey, log: (line: string) => void): void {
  const range = (extent: [number, number] | null): string =>
    extent === null ? '?' : extent[0] === extent[1] ? `${extent[0]}` : `${extent[0]}-${extent[1]}`;
  const three = (values: number[]): string => values.map((value) => value.toFixed(3)).join(' ');
  const { sizes, channels, classes, unreadable } = result;
  log(shown(result.source));
  log(`split        ${result.split}`);
  log(`images       ${result.images}`);
  log(`height       ${range(sizes.height)}`);
  log(`width        ${range(sizes.width)}`);
  log(`mean         ${three(channels.mean)}  (of ${channels.images} images)`);
  log(`std          ${three(channels.std)}`);
  if (result.label_map_classes) {
    const ignored = result.ignored_labels?.length ? `, not scored: ${result.ignored_labels.join(', ')}` : '';
    log(`label map    ${result.label_map_classes.length} classes${ignored}`);
  }
  const { several, none } = result.labels ?? { several: 0, none: 0 };
  if (several + none > 0) log(`labels       ${several} images have several, ${none} none`);
  log(`classes      ${classes ? classes.length : 'none'}`);
  if (classes) {
    const rows = classes.map(({ name, images }, i) => [
      `${i}`,
      shown(name),
      images === undefined ? '' : `${images}`,
    ]);
    log(columns([['label', 'class', 'images'], ...rows.slice(0, 50)]));
    if (rows.length > 50) log(`… and ${rows.length - 50} more (--json has them all)`);
  }
  for (const { what, count, examples } of result.left_out) {
    log(
      `left out     ${count} ${what}: ${examples.map(shown).join(', ')}${count > examples.length ? ', …' : ''}`,
    );
  }
  for (const remark of result.remarks) log(`note         ${shown(remark)}`);
  for (const { problem } of unreadable) log(`unreadable   ${shown(problem ?? '')}`);
  log(`${result.on_sheet} images on ${result.contact_sheet}`);
}
