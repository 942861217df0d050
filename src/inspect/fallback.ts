// The ONNX nodes of a program, or of a file, held against the kernels of a provider.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ConfigRequest } from '../config/load.js';
import { optimise } from '../engine/graph/passes/index.js';
import { trace } from '../engine/graph/trace.js';
import { checkFallback, type FallbackReport } from '../engine/onnx/fallback/check.js';
import { type ProviderKernels, readKernels } from '../engine/onnx/fallback/kernels.js';
import { type ModelText, readModel } from '../engine/onnx/fallback/model.js';
import { lower } from '../engine/onnx/lower.js';
import { loweringsFor } from '../engine/onnx/precision.js';
import { elements, type Program } from '../engine/program.js';
import { UsageError } from '../errors.js';
import { inspectedProgram, type ProgramChoice } from './graph.js';

export interface FallbackOptions extends ProgramChoice {
  provider: string;
  /** onnxruntime's list, or a table of it, in place of the one that comes along. */
  kernels?: string;
}

/** The nodes that fall to the CPU, with what was held against what. */
export interface ProviderReport extends FallbackReport {
  program: string;
  provider: string;
  release: string;
  /** Version of each operator set that the model asks for. */
  opsets: Record<string, number>;
}

/** Folder of the tables: benchmarks/onnxruntime of this package. */
function tables(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return join(folder, 'benchmarks', 'onnxruntime');
}

/** The kernels of a provider: of the table that comes along, or of `file`. @throws UsageError, DataError */
export function providerKernels(provider: string, file?: string): ProviderKernels {
  const path = file ?? join(tables(), `${provider}.tsv`);
  if (!existsSync(path)) {
    if (file !== undefined) throw new UsageError(`--kernels ${file}: no such file`);
    const known = readdirSync(tables()).flatMap((name) => /^(\w+)\.tsv$/.exec(name)?.[1] ?? []);
    throw new UsageError(
      `no table of the provider ${provider}; accepted: ${known.join(', ')}, or any that onnxruntime's docs/OperatorKernels.md has, with --kernels FILE`,
    );
  }
  return readKernels(readFileSync(path, 'utf8'), provider, path);
}

/**
 * The model that the onnx engine hands to onnxruntime for a program: its bytes decoded.
 * @param frozen state is built into the model, as the engine does with an encoder's weights
 */
export function loweredModel(program: Program, { frozen = false } = {}): ModelText {
  const graph = trace(program);
  const state = new Set(frozen ? program.state : []);
  for (const { name, value } of graph.inputs) {
    if (state.has(name)) value.data = new Float32Array(elements(value.shape)).fill(0.01); // any: only types are read
  }
  const inputs = graph.inputs.filter(({ name }) => !state.has(name));
  const model = lower(optimise({ ...graph, inputs }), { instead: loweringsFor(program, 'cuda') });
  return readModel(model, program.name);
}

/**
 * @param request its preset may also be an ONNX file
 * @throws UsageError for a config that cannot run or a provider without a table, DataError for a file that is no model
 */
export function inspectFallback(
  request: ConfigRequest & { preset: string },
  options: FallbackOptions,
): ProviderReport {
  const kernels = providerKernels(options.provider, options.kernels);
  const { name, model } = modelOf(request, options);
  return {
    program: name,
    provider: kernels.provider,
    release: kernels.release,
    opsets: Object.fromEntries(model.opsets),
    ...checkFallback(model, kernels),
  };
}

function modelOf(
  request: ConfigRequest & { preset: string },
  options: FallbackOptions,
): { name: string; model: ModelText } {
  const file = request.preset;
  if (file.endsWith('.onnx')) {
    if (!existsSync(file)) throw new UsageError(`no ONNX file ${file}`);
    return { name: file, model: readModel(readFileSync(file), file) };
  }
  const { program, source } = inspectedProgram(request, options);
  const model = loweredModel(program, { frozen: options.program === 'encoder' });
  return { name: `${program.name} of ${source}`, model };
}
