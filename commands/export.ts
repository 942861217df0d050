// capi export: an encoder as an ONNX or safetensors file.
import { Args, Flags } from '@oclif/core';
import { shown } from '../src/base/text.js';
import { BaseCommand } from '../src/cli/base.js';

export default class Export extends BaseCommand<typeof Export> {
  static override summary = 'Write an encoder as an ONNX or safetensors file.';
  static override description =
    'An ONNX file has the weights inside, standard operators only, an open batch and one resolution. It takes `images`, normalised float32 [batch, 3, H, W], and gives ' +
    '`global`, `registers` and `feature_map`; FILE.onnx.yaml beside it, its adapter, says so to capi eval. It is run and compared with the encoder before it gets its name. ' +
    'A safetensors file has the whole student or EMA (encoder, predictor, head) under the names of the official code.';
  static override examples = [
    '<%= config.bin %> export runs/quickstart --out encoder.onnx',
    '<%= config.bin %> export runs/quickstart --out encoder.onnx --resolution 128x192 --weights student',
    "<%= config.bin %> export 'capi_vitl14_in1k.pth?preset=vit-l-14' --out capi.safetensors",
  ];
  static override args = {
    encoder: Args.string({
      required: true,
      description: 'run folder, checkpoint, FILE.pth?preset=PRESET or random:PRESET',
    }),
  };
  static override flags = {
    out: Flags.string({ required: true, description: 'FILE.onnx or FILE.safetensors', helpValue: 'FILE' }),
    weights: Flags.option({
      description: 'which of the two a run has (default: ema)',
      options: ['ema', 'student'] as const,
    })(),
    resolution: Flags.string({
      description: "pixels of the ONNX file's input (default: the encoder's own)",
      helpValue: 'N|HxW',
    }),
    threads: Flags.integer({ description: 'threads of the comparison', min: 1 }),
    force: Flags.boolean({ description: 'overwrite files that exist' }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(Export);
    const { exportEncoder } = await import('../src/encoder/export.js');
    const { parseSize, sizeText } = await import('../src/encoder/spec.js');
    const { out, force, weights, threads, resolution } = flags;
    const result = await exportEncoder(args.encoder, {
      out,
      force,
      onMessage: (text) => this.logToStderr(text),
      ...(weights ? { weights } : {}),
      ...(threads ? { threads } : {}),
      ...(resolution ? { size: parseSize(resolution, '--resolution') } : {}),
    });
    this.log(`${out}  ${(result.bytes / 1e6).toFixed(1)} MB, from ${result.encoder}`);
    for (const note of result.notes) this.log(`note       ${shown(note)}`);
    if (result.difference !== undefined) {
      this.log(`${result.files[1]}  how to read it: capi eval ... ${out}`);
      this.log(
        `compared at ${sizeText(result.size!)} px: largest difference ${result.difference.toExponential(1)} of the largest value`,
      );
    }
    return result;
  }
}
