// capi eval depth: depth estimation on frozen encoders.
import { EvalCommand, evalArgs, evalFlags } from '../../src/cli/eval_command.js';

export default class EvalDepth extends EvalCommand<typeof EvalDepth> {
  static override summary =
    'Probe frozen encoders by depth: linear heads on patch features, by bins or by regression; RMSE, AbsRel and delta.';
  static override description =
    "Images and depth maps are squashed to the encoder's size; a head is trained on patch features, its learning rate chosen on a tenth of the training images, and the test set is read once, at the end. Errors are those of each image over the pixels with a depth, averaged over images. Beside them stand two bounds: the mean depth of each patch, and the mean training depth everywhere. ENCODER, tables and records are as for capi eval seg.";
  static override examples = [
    '<%= config.bin %> eval depth runs/first --train synthetic:scenes --test synthetic:scenes --limit 2000 --floors',
    '<%= config.bin %> eval depth runs/a runs/b --train nyu:/data/nyu --test nyu:/data/nyu --protocol official --dry-run',
    '<%= config.bin %> eval depth runs/a --train pairs:images/train,depth/train?depth=0.001 --test pairs:images/test,depth/test?depth=0.001',
  ];
  static override args = evalArgs;
  static override flags = evalFlags;

  async run(): Promise<object> {
    const { args, flags } = await this.parse(EvalDepth);
    return this.evaluate('depth', args.encoder, flags);
  }
}
