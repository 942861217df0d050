// Matrix files: what goes in comes out by any range, an interrupted writer goes on, and damage is found.
import { mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import { DataError } from '../../src/errors.js';
import { MatrixFile, type MatrixKind, MatrixWriter } from '../../src/features/chunks.js';
import { chooseRows, rowsInMemory } from '../../src/features/rows.js';

let folder: string;
let files = 0;
const fresh = () => join(folder, `matrix-${files++}`);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'capi-chunks-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const width = 3;
const values = stream(1).fillNormal(new Float32Array(25 * width));
const kind: MatrixKind = { dtype: 'float32', width, chunkRows: 4, meta: { of: 'a test' } };
const rows = (from: number, to: number) => values.subarray(from * width, to * width);

async function written(path = fresh()): Promise<string> {
  const writer = await MatrixWriter.open(path, kind);
  for (const [from, to] of [
    [0, 1],
    [1, 11],
    [11, 25],
  ] as const)
    await writer.append(rows(from, to));
  expect(writer.rows).toBe(25);
  await writer.finish();
  return path;
}

describe('a matrix file', () => {
  it('gives back any range of rows, and leaves nothing beside it', async () => {
    const path = await written();
    const file = await MatrixFile.open(path, 'float32');
    expect([file.count, file.width, file.meta]).toEqual([25, width, { of: 'a test' }]);
    for (const [from, to] of [
      [0, 25],
      [3, 9],
      [24, 25],
      [7, 7],
    ] as const)
      expect([...(await file.read(from, to - from))]).toEqual([...rows(from, to)]);
    await file.verify();
    await expect(file.read(20, 6)).rejects.toThrow(/rows 20 to 26 of 25/);
    await file.close();
    expect((await readdir(folder)).filter((name) => join(folder, name).startsWith(`${path}.`))).toEqual([]);
  });

  it('holds bytes too, and an empty matrix', async () => {
    const path = fresh();
    const writer = await MatrixWriter.open(path, { dtype: 'uint8', width: 5 });
    await writer.append(Uint8Array.from({ length: 35 }, (_, i) => i * 9));
    await writer.finish();
    const file = await MatrixFile.open(path, 'uint8');
    expect([...(await file.read(6, 1))]).toEqual([14, 23, 32, 41, 50]); // 270 - 256, ...
    await expect(MatrixFile.open(path, 'float32')).rejects.toThrow(/holds uint8, not float32/);
    const other = await MatrixWriter.open(fresh(), kind);
    await expect(other.append(new Uint8Array(3))).rejects.toThrow(/no rows/);
    await other.close();
    const empty = fresh();
    await (await MatrixWriter.open(empty, kind)).finish();
    const nothing = await MatrixFile.open(empty, 'float32');
    expect(nothing.count).toBe(0);
    await nothing.close();
    await file.close();
  });

  it.each([0, 3, 4, 9, 24])(
    'interrupted after %d rows goes on with whole chunks, to the same bytes',
    async (rowsWritten) => {
      const path = fresh();
      const writer = await MatrixWriter.open(path, kind);
      await writer.append(rows(0, rowsWritten));
      await writer.close();
      await expect(MatrixFile.open(path, 'float32')).rejects.toThrow(DataError);
      const next = await MatrixWriter.open(path, kind);
      expect(next.rows).toBe(rowsWritten - (rowsWritten % 4));
      await next.append(rows(next.rows, 25));
      await next.finish();
      expect(await readFile(path)).toEqual(await readFile(await written()));
    },
  );

  it('keeps only chunks whose bytes are as they were written', async () => {
    const path = fresh();
    const writer = await MatrixWriter.open(path, kind);
    await writer.append(rows(0, 20));
    await writer.close();
    const damaged = await open(`${path}.partial`, 'r+');
    await damaged.write(Uint8Array.of(77), 0, 1, 8 + 2 * 4 * width * 4 + 5); // in the third chunk
    await damaged.close();
    const next = await MatrixWriter.open(path, kind);
    expect(next.rows).toBe(8);
    await next.close();
    await truncate(`${path}.partial`, 8 + 4 * width * 4 + 2);
    const again = await MatrixWriter.open(path, kind);
    expect(again.rows).toBe(4);
    await again.close();
    await expect(MatrixWriter.open(path, { ...kind, meta: { of: 'another' } })).rejects.toThrow(
      /begun with other contents/,
    );
  });

  it('says what is damaged', async () => {
    const path = await written();
    const bytes = await readFile(path);
    const size = (await stat(path)).size;
    const opened = async (change: (copy: Buffer) => Buffer) => {
      const other = fresh();
      await writeFile(other, change(Buffer.from(bytes)));
      return MatrixFile.open(other, 'float32');
    };
    await expect(opened((copy) => copy.subarray(0, size - 1))).rejects.toThrow(/truncated/);
    await expect(opened((copy) => copy.subarray(0, 10))).rejects.toThrow(/truncated/);
    await expect(opened((copy) => Buffer.concat([copy.subarray(0, 8), copy.subarray(12)]))).rejects.toThrow(
      /damaged: \d+ bytes, its footer speaks of \d+/,
    );
    await expect(
      opened((copy) => {
        copy[size - 60]! ^= 1;
        return copy;
      }),
    ).rejects.toThrow(/damaged footer/);
    const one = await opened((copy) => {
      copy[8 + 13 * width * 4]! ^= 1;
      return copy;
    });
    await expect(one.verify()).rejects.toThrow(/damaged in rows 12 to 15/);
    await one.close();
    await expect(MatrixFile.open(join(folder, 'none'), 'float32')).rejects.toThrow(/cannot read/);
  });
});

describe('chosen rows', () => {
  it('are the rows, whatever is asked for', async () => {
    const source = rowsInMemory(
      Float32Array.from({ length: 600 }, (_, i) => i),
      2,
    );
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.nat(299), { minLength: 1, maxLength: 120 }),
        fc.nat(),
        fc.nat(),
        async (picked, a, b) => {
          const chosen = Int32Array.from(picked).sort();
          const from = a % chosen.length;
          const count = b % (chosen.length - from + 1);
          const expected = [...chosen.subarray(from, from + count)].flatMap((row) => [2 * row, 2 * row + 1]);
          expect([...(await chooseRows(source, chosen).read(from, count))]).toEqual(expected);
        },
      ),
      { numRuns: 60 },
    );
    expect(() => chooseRows(source, Int32Array.of(3, 3))).toThrow(/row 3 of 300 is out of order/);
    expect(() => chooseRows(source, Int32Array.of(300))).toThrow(/row 300 of 300/);
    expect(() => rowsInMemory(new Float32Array(5), 2)).toThrow(/5 values are not whole rows/);
  });
});
