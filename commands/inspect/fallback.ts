// capi inspect fallback: which nodes of a program a GPU provider of onnxruntime would leave to the CPU.
import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../src/cli/base.js';
import { configFlags, configRequest, programFlags } from '../../src/cli/config_flags.js';
import { columns } from '../../src/cli/table.js';
import type { FallenNode } from '../../src/engine/onnx/fallback/check.js';
import type { ProviderReport } from '../../src/inspect/fallback.js';

export default class InspectFallback extends BaseCommand<typeof InspectFallback> {
  static override summary = 'List the nodes of a program that a provider of onnxruntime has no kernel for.';
  static override description =
    'Traces the training step or the encoder of a config, lowers it to ONNX, and holds every node (operator, opset, types of its tensors) against ' +
    "the kernels that onnxruntime's own list gives for the provider. Needs neither the provider nor its device, and runs nothing. " +
    'Nodes that compute shapes, which onnxruntime keeps on the CPU by itself, are listed apart. An ONNX file can be named in place of a preset.';
  static override examples = [
    '<%= config.bin %> inspect fallback vit-s-14',
    '<%= config.bin %> inspect fallback vit-s-14 --program encoder --json',
    '<%= config.bin %> inspect fallback model.onnx --kernels OperatorKernels.md',
  ];
  static override args = {
    source: Args.string({ description: 'preset name, YAML file or ONNX file', default: 'quickstart' }),
  };
  static override flags = {
    ...configFlags,
    ...programFlags,
    provider: Flags.string({ description: 'which provider', default: 'cuda' }),
    kernels: Flags.string({
      description: "another release's docs/OperatorKernels.md of onnxruntime",
      helpValue: 'FILE',
    }),
  };

  async run(): Promise<ProviderReport> {
    const { args, flags } = await this.parse(InspectFallback);
    const { inspectFallback } = await import('../../src/inspect/fallback.js');
    const report = inspectFallback(configRequest(args.source, flags), flags);
    this.log(reportText(report));
    return report;
  }
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
