// What `capi inspect fallback` does: holds the ONNX nodes of a program, or of a file, against the kernels of a provider.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkFallback, type FallbackReport, type FallenNode } from '../engine/onnx/fallback/check.js';
import { type ProviderKernels, readKernels } from '../engine/onnx/fallback/kernels.js';
import { type ModelText, readModel } from '../engine/onnx/fallback/model.js';
import { lower } from '../engine/onnx/lower.js';
import { optimise } from '../engine/onnx/passes/index.js';
import { rulesFor } from '../engine/onnx/precision.js';
import { trace } from '../engine/onnx/trace.js';
import { elements, type Program } from '../engine/program.js';
import { UsageError } from '../errors.js';
import type { ConfigFlagValues } from '../cli/config_flags.js';
import { inspectedProgram } from './graph.js';
import { columns } from '../cli/table.js';

export interface FallbackFlags extends ConfigFlagValues {
  /** Preset, YAML file, or ONNX file. */
  source: string;
  program: 'step' | 'encoder';
  batch?: number;
  provider: string;
  /** onnxruntime's list, or a table of it, in place of the one that comes along. */
  kernels?: string;
  log(text: string): void;
}

/** What --json prints. */
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
  const model = lower(optimise({ ...graph, inputs }), { instead: rulesFor(program, 'cuda') });
  return readModel(model, program.name);
}

/** @throws UsageError for a config that cannot run or a provider without a table, DataError for a file that is no model */
export function inspectFallback(flags: FallbackFlags): ProviderReport {
  const kernels = providerKernels(flags.provider, flags.kernels);
  const { name, model } = modelOf(flags);
  const report: ProviderReport = {
    program: name,
    provider: kernels.provider,
    release: kernels.release,
    opsets: Object.fromEntries(model.opsets),
    ...checkFallback(model, kernels),
  };
  flags.log(reportText(report));
  return report;
}

function modelOf(flags: FallbackFlags): { name: string; model: ModelText } {
  if (flags.source.endsWith('.onnx')) {
    if (!existsSync(flags.source)) throw new UsageError(`no ONNX file ${flags.source}`);
    return { name: flags.source, model: readModel(readFileSync(flags.source), flags.source) };
  }
  const { program, source } = inspectedProgram({ ...flags, preset: flags.source });
  const model = loweredModel(program, { frozen: flags.program === 'encoder' });
  return { name: `${program.name} of ${source}`, model };
}

function reportText(r: ProviderReport): string {
  const opsets = Object.entries(r.opsets).map(([domain, version]) => `${domain} ${version}`);
  const lines = [
    `${r.program}: ${r.nodes} nodes (${opsets.join(', ')}) against the ${r.provider} kernels of ${r.release}`,
    ...grouped(`${r.fallen.length} would fall to the CPU`, r.fallen),
  ];
  if (r.shape.length > 0) {
    lines.push(
      ...grouped(`${r.shape.length} more compute shapes: onnxruntime keeps them on the CPU itself`, r.shape),
    );
  }
  if (r.unknown > 0)
    lines.push(`${r.unknown} read a tensor whose type could not be told, and were taken to fit`);
  if (r.nested > 0) lines.push(`${r.nested} hold graphs of their own, which were not looked into`);
  return lines.join('\n');
}

/** Nodes of one operator with one reason are one line: how many, and the first of them by name. */
function grouped(title: string, nodes: readonly FallenNode[]): string[] {
  if (nodes.length === 0) return [title];
  const groups = new Map<string, { first: FallenNode; count: number }>();
  for (const node of nodes) {
    const key = `${node.operator}(${node.types}) ${node.why}`;
    const group = groups.get(key) ?? { first: node, count: 0 };
    group.count++;
    groups.set(key, group);
  }
  const rows = [...groups.values()].map(({ first, count }) => [
    first.operator,
    String(count),
    first.types.join(', '),
    first.node,
    first.why,
  ]);
  return [`${title}:`, columns([['operator', 'nodes', 'types', 'first', 'why'], ...rows])];
}
