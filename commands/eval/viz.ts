// capi eval viz: PCA pictures of patch features, prototype maps, and one page that shows them.
import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../src/cli/base.js';
import { engineFlags, evaluationEngine } from '../../src/cli/engine_flags.js';
import { stageProgress } from '../../src/cli/stages.js';

export default class EvalViz extends BaseCommand<typeof EvalViz> {
  static override summary =
    'Draw what frozen encoders see: PCA pictures and prototype maps, as PNG files and one page.';
  static override description =
    'For each image the first three whitened principal components of its patch features as colours, by itself and with all images together, as the CAPI paper shows them; ' +
    'for encoders of capi pretrain also which prototype each patch prefers, and the patches nearest to the most used prototypes. Open OUT/index.html in a browser; no server is needed. ' +
    'ENCODER is a run folder, a checkpoint, or any other that capi eval takes.';
  static override examples = [
    '<%= config.bin %> eval viz runs/fashion --data fashion-scenes:/usr/share/datasets/fashion-mnist --split test',
    '<%= config.bin %> eval viz runs/fashion random:fashion --data folder:photos --resolution 256 --heatmaps',
  ];
  static override args = {
    encoder: Args.string({ description: 'one or more encoders', required: true, multiple: true }),
  };
  static override flags = {
    data: Flags.string({ description: 'image source', helpValue: 'SOURCE', required: true }),
    split: Flags.option({
      description: 'part of the source, unless SOURCE names one',
      options: ['train', 'test'] as const,
    })(),
    resolution: Flags.integer({
      description: "side of the input in pixels, divisible by the patch (default: the encoder's own)",
      min: 1,
    }),
    heatmaps: Flags.boolean({ description: 'one picture a component: 6 of each image, 10 joint ones' }),
    signs: Flags.boolean({ description: 'the RGB pictures in all 8 combinations of signs' }),
    limit: Flags.integer({
      description: 'take every (n // limit)-th of n images, as the protocol does: limit images or some more',
      default: 64,
      min: 1,
    }),
    out: Flags.string({ description: 'folder of the page', default: 'viz', helpValue: 'DIR' }),
    weights: Flags.option({ options: ['ema', 'student'] as const, default: 'ema' })(),
    ...engineFlags,
    threads: Flags.integer({ description: 'threads of the engine', min: 1 }),
    force: Flags.boolean({ description: 'replace the pictures of an earlier page in DIR' }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(EvalViz);
    const { drawPage } = await import('../../src/viz/page.js');
    const progress = stageProgress(this.jsonEnabled() || !process.stderr.isTTY);
    const result = await drawPage({
      ...flags,
      engine: evaluationEngine(flags),
      encoders: args.encoder,
      onStage: progress.stage,
    }).finally(progress.end);
    this.log(`${result.files.length - 2} pictures of ${result.settings.images} images`);
    this.log(`page       ${result.page}`);
    for (const { label, notes } of result.encoders)
      for (const note of notes) this.log(`note       ${label}: ${note}`);
    return result;
  }
}
