// `capi data list`: the image sources by URI, and the data sets that are found on this machine.

import { BaseCommand } from '../../src/cli/base.js';

export default class DataList extends BaseCommand<typeof DataList> {
  static override summary = 'List the kinds of image sources, and the data sets found here.';
  static override examples = ['<%= config.bin %> data list'];

  async run(): Promise<object> {
    await this.parse(DataList);
    const { columns } = await import('../../src/cli/table.js');
    const { findDataSets, SOURCES } = await import('../../src/images/index.js');
    const sources = Object.entries(SOURCES).map(([scheme, { open: _, ...about }]) => ({ scheme, ...about }));
    const datasets = findDataSets();
    const rows = sources.map(({ scheme, place, reads }) => [`${scheme}:${place}`, reads]);
    this.log(columns([['source', 'reads'], ...rows]));
    this.log('\nExamples:');
    for (const { example } of sources) this.log(`  ${example}`);
    this.log('\nOptions follow ? and are joined by &:');
    const options = sources.flatMap(({ scheme, options }) =>
      Object.entries(options).map(([name, accepts]) => [scheme, `${name}=`, accepts]),
    );
    this.log(columns([['source', 'option', 'accepts'], ...options]));
    this.log('');
    for (const { name, folder, found, get } of datasets) {
      this.log(found ? `${name}: found in ${folder}` : `${name}: not found in ${folder}; to get it: ${get}`);
    }
    return { sources, datasets };
  }
}
