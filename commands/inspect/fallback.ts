// capi inspect fallback: which nodes of a program a GPU provider of onnxruntime would leave to the CPU.
import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../src/cli/base.js';
import { configFlags, programFlags } from '../../src/cli/config_flags.js';

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

  async run(): Promise<object> {
    const { args, flags } = await this.parse(InspectFallback);
    const { inspectFallback } = await import('../../src/inspect/fallback.js');
    return inspectFallback({ source: args.source, ...flags, log: (text) => this.log(text) });
  }
}
