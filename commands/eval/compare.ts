// capi eval compare: do two records differ?
import { Args } from '@oclif/core';
import { BaseCommand } from '../../src/cli/base.js';

export default class EvalCompare extends BaseCommand<typeof EvalCompare> {
  static override summary = 'Say whether two results differ: paired differences over the same test images.';
  static override description =
    'RECORD is a record.json of capi eval, or the folder that holds it. Every head and metric that both have is compared by a paired bootstrap over test images (95 %).';
  static override examples = ['<%= config.bin %> eval compare evals/0123456789abcdef evals/fedcba9876543210'];
  static override args = {
    a: Args.string({ description: 'a record', required: true }),
    b: Args.string({ description: 'another record', required: true }),
  };

  async run(): Promise<object> {
    const { args } = await this.parse(EvalCompare);
    const { openRecord } = await import('../../src/results/record.js');
    const { compareRecords } = await import('../../src/probes/compare.js');
    const { comparisonTable } = await import('../../src/cli/eval_table.js');
    const { EXIT } = await import('../../src/errors.js');
    const [a, b] = [await openRecord(args.a), await openRecord(args.b)];
    const comparisons = await compareRecords(a, b);
    const warnings: string[] = [];
    if (a.record.protocol.hash !== b.record.protocol.hash)
      warnings.push('the records are of different protocols or settings: see protocol.card of both');
    const unknown = comparisons.filter(
      ({ difference: { low, high } }) => !(Number.isFinite(low) && Number.isFinite(high)),
    );
    if (unknown.length > 0)
      warnings.push(
        `${unknown.length} of ${comparisons.length} differences have no interval: nothing can be said of them`,
      );
    if (unknown.length === comparisons.length) process.exitCode = EXIT.unexpected;
    this.log(comparisonTable(a, b, comparisons));
    for (const warning of warnings) this.log(`warning: ${warning}`);
    const [first, second] = [a, b].map(({ file, record }) => ({
      record: file,
      encoder: record.encoder.name,
      protocol: record.protocol.hash,
    }));
    return { a: first, b: second, comparisons, warnings };
  }
}
