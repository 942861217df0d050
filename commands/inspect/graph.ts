// capi inspect graph: what a program of a config computes and costs.
import { existsSync } from 'node:fs';
import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../src/cli/base.js';
import { configFlags, configRequest, programFlags } from '../../src/cli/config_flags.js';
import { UsageError } from '../../src/errors.js';

export default class InspectGraph extends BaseCommand<typeof InspectGraph> {
  static override summary = 'Print the cost of a program by kernel, or the program itself.';
  static override description =
    'Traces the training step or the encoder of a config, without running it and without its data. Nodes, GFLOP and MB (read and written, ' +
    'every operand counted once a node) are those of the graph that the onnx engine gets; the other engines run the same program op by op. ' +
    'A step that a run would cut into more than 4 micro-batches is shown in 4, unless the config sets engine.teacher_micro_batches and engine.student_micro_batches.';
  static override examples = [
    '<%= config.bin %> inspect graph',
    '<%= config.bin %> inspect graph vit-l-14 --json',
    '<%= config.bin %> inspect graph quickstart --program encoder --ir --out encoder.txt',
  ];
  static override args = {
    preset: Args.string({ description: 'preset name or YAML file', default: 'quickstart' }),
  };
  static override flags = {
    ...configFlags,
    ...programFlags,
    raw: Flags.boolean({ description: 'the graph as traced, before any pass' }),
    ir: Flags.boolean({ description: 'print the graph as text instead of its cost' }),
    out: Flags.string({
      description: 'write the text of --ir to this file, and print the cost',
      helpValue: 'FILE',
      dependsOn: ['ir'],
    }),
    force: Flags.boolean({ description: 'overwrite the file if it exists' }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(InspectGraph);
    const { out } = flags;
    if (out && !flags.force && existsSync(out)) {
      throw new UsageError(`${out} exists: name another file with --out, or overwrite it with --force`);
    }
    const { inspectGraph } = await import('../../src/inspect/graph.js');
    const { report, ir } = inspectGraph(configRequest(args.preset, flags), flags);
    if (flags.ir && out) await (await import('../../src/base/files/write.js')).writeText(out, ir);
    if (flags.ir && !out) this.log(ir.trimEnd());
    else this.log((await import('../../src/cli/graph_table.js')).graphText(report, out));
    return { ...report, ...(flags.ir ? { ir: out ?? ir } : {}) };
  }
}
