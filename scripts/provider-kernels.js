// Makes the table of an execution provider's kernels (benchmarks/onnxruntime) from onnxruntime's docs/OperatorKernels.md.
//
//   npm run build
//   node scripts/provider-kernels.js OperatorKernels.md cuda 'onnxruntime 1.21.0' > benchmarks/onnxruntime/cuda.tsv

import { readFileSync } from 'node:fs';
import { kernelTable, readKernels } from '../dist/src/engine/onnx/fallback/kernels.js';

const [file, provider, release] = process.argv.slice(2);
if (release === undefined) {
  process.stderr.write('usage: node scripts/provider-kernels.js OperatorKernels.md PROVIDER RELEASE\n');
  process.exitCode = 2;
} else {
  const kernels = readKernels(readFileSync(file, 'utf8'), provider, file);
  process.stdout.write(kernelTable({ ...kernels, release }));
}
