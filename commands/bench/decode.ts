// capi bench decode: JPEG files to pixels, beside Pillow.
import { Flags } from '@oclif/core';
import type { BenchResult } from '../../src/bench/run.js';
import { BenchCommand, benchFlags } from '../../src/cli/bench_command.js';

export default class BenchDecode extends BenchCommand<typeof BenchDecode> {
  static override summary =
    "Time decoding and transforming JPEG files beside Pillow with torchvision's arithmetic.";
  static override description =
    'Files of 500 x 375 pixels to random resized crops and to centres of 224, as bytes and as normalised floats. Our reading threads against threads and against ' +
    'worker processes of PyTorch, as many of each and on as many cores.';
  static override examples = ['<%= config.bin %> bench decode', '<%= config.bin %> bench decode --threads 1'];
  static override flags = {
    ...benchFlags,
    images: Flags.integer({ description: 'images in a round (default 512; 16 with --quick)', min: 1 }),
  };

  async run(): Promise<BenchResult> {
    const { flags } = await this.parse(BenchDecode);
    const { benchDecode } = await import('../../src/bench/decode.js');
    return this.shown(benchDecode({ ...flags, log: (text) => this.logToStderr(text) }));
  }
}
