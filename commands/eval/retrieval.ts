// capi eval retrieval: image retrieval on frozen encoders.
import { EvalCommand, evalArgs, evalFlags } from '../../src/cli/eval_command.js';

export default class EvalRetrieval extends EvalCommand<typeof EvalRetrieval> {
  static override summary =
    'Probe frozen encoders by image retrieval: mAP and recall at k, by class or by the lists of revisited Oxford and Paris.';
  static override description =
    'The training images are the database, the test images the queries; all of the database is ranked for each query by the cosine similarity of frozen features, and nothing is learnt. Queries may be images of the database: what equals a query in every pixel is taken out of its ranking. Several encoders share one table, and the first is compared with each of the others over the same queries. A record of everything is kept below --out; a finished evaluation is not done twice. ENCODER is as in `eval cls`.';
  static override examples = [
    '<%= config.bin %> eval retrieval runs/fashion --train idx:/usr/share/datasets/fashion-mnist --test idx:/usr/share/datasets/fashion-mnist --limit 2000 --floors',
    '<%= config.bin %> eval retrieval runs/a runs/b --train folder:birds --test folder:birds',
  ];
  static override args = evalArgs;
  static override flags = evalFlags;

  async run(): Promise<object> {
    const { args, flags } = await this.parse(EvalRetrieval);
    return this.evaluate('retrieval', args.encoder, flags);
  }
}
