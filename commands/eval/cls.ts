// capi eval cls: image classification on frozen encoders.
import { EvalCommand, evalArgs, evalFlags } from '../../src/cli/eval_command.js';

export default class EvalCls extends EvalCommand<typeof EvalCls> {
  static override summary =
    'Probe frozen encoders by image classification: linear and attentive heads, k-NN, few-shot.';
  static override description =
    'Features come from the frozen encoder; heads are chosen on a tenth of the training images and the test set is read once, at the end. Several encoders share one table, and the first is compared with each of the others over the same test images. A record of everything is kept below --out; a finished evaluation is not done twice, and one that was killed goes on. ENCODER is a run folder, a checkpoint, FILE.pth?preset=PRESET, FILE.onnx, random:PRESET, pixels:PATCH?size=N or position:PATCH?size=N.';
  static override examples = [
    '<%= config.bin %> eval cls runs/fashion --train idx:/usr/share/datasets/fashion-mnist --test idx:/usr/share/datasets/fashion-mnist --floors',
    '<%= config.bin %> eval cls runs/a runs/b --train folder:photos --test folder:photos --protocol official --dry-run',
  ];
  static override args = evalArgs;
  static override flags = evalFlags;

  async run(): Promise<object> {
    const { args, flags } = await this.parse(EvalCls);
    return this.evaluate('cls', args.encoder, flags);
  }
}
