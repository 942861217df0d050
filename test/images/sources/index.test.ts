// The table of sources: the README lists what it lists, its examples can be parsed, and errors name what there is.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openSource, SOURCES } from '../../../src/images/index.js';
import { parseSourceUri } from '../../../src/images/sources/uri.js';
import { root } from '../../support/imports.js';
import { failure } from '../support.js';

describe('the table of sources', () => {
  it('is the table of the README', () => {
    const rows = Object.entries(SOURCES).map(
      ([scheme, { place, reads }]) => `| \`${scheme}:${place}\` | ${reads} |`,
    );
    const table = ['| source | images |', '|---|---|', ...rows, ''].join('\n');
    expect(readFileSync(join(root, 'README.md'), 'utf8')).toContain(table);
  });

  it.each(Object.entries(SOURCES))('%s has an example with known options', (scheme, { example }) => {
    expect(parseSourceUri(example, SOURCES).scheme).toBe(scheme);
  });

  it('tells the known sources, and the options of one', async () => {
    const known = Object.entries(SOURCES).map(([scheme, { place }]) => `${scheme}:${place}`);
    expect((await failure(() => openSource('webdataset:shards'))).message).toBe(
      `Image source 'webdataset:shards' has the unknown scheme 'webdataset'; known sources: ${known.join(', ')}`,
    );
    for (const [scheme, { example, options }] of Object.entries(SOURCES)) {
      const uri = `${example.split('?')[0]}?speed=3`;
      expect((await failure(() => openSource(uri))).message, scheme).toBe(
        `Image source '${uri}' has the unknown option 'speed'; known options: ${Object.keys(options).join(', ')} (a ? of a path is written %3F)`,
      );
    }
  });
});
