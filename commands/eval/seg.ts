// capi eval seg: segmentation on frozen encoders.
import { EvalCommand, evalArgs, evalFlags } from '../../src/cli/eval_command.js';

export default class EvalSeg extends EvalCommand<typeof EvalSeg> {
  static override summary =
    'Probe frozen encoders by segmentation: k-NN, logistic regression and linear heads on patch features.';
  static override description =
    "Images and label maps are squashed to the encoder's size; a head is chosen on a tenth of the training images and the test set is read once, at the end. Several encoders share one table, and the first is compared with each of the others over the same test images. A record of everything is kept below --out; a finished evaluation is not done twice, and one that was killed goes on. ENCODER is as for capi eval cls.";
  static override examples = [
    '<%= config.bin %> eval seg runs/fashion --train fashion-scenes:/usr/share/datasets/fashion-mnist --test fashion-scenes:/usr/share/datasets/fashion-mnist --limit 2000 --floors',
    '<%= config.bin %> eval seg dinov2.onnx --train ade20k:ADEChallengeData2016 --test ade20k:ADEChallengeData2016 --protocol official --dry-run',
  ];
  static override args = evalArgs;
  static override flags = evalFlags;

  async run(): Promise<object> {
    const { args, flags } = await this.parse(EvalSeg);
    return this.evaluate('seg', args.encoder, flags);
  }
}
