// TIFF files by hand, with the tags that a test asks for: what sharp does not write.

import { put } from '../support.js';

/** Pixels and tags of a picture; values are interleaved, little-endian. */
export interface TiffPicture {
  width: number;
  height: number;
  bands: number;
  values: Uint8Array | Uint16Array | Int8Array | Int16Array | Uint32Array | Float32Array | Float64Array;
  photometric: number;
  /** 1 unsigned, 2 signed, 3 float. */
  format?: number;
  extra?: number[];
  colourMap?: number[];
  /** More tags, all SHORT: number, values. */
  more?: [number, number[]][];
}

/** Writes pictures, one directory each, to `path`. */
export function writeTiff(path: string, ...pictures: TiffPicture[]): string {
  const parts: Buffer[] = [Buffer.from('II*\0\0\0\0\0', 'latin1')];
  let at = 8;
  const add = (bytes: Buffer): number => {
    const begin = at;
    parts.push(bytes, Buffer.alloc(bytes.length & 1));
    at += bytes.length + (bytes.length & 1);
    return begin;
  };
  const shorts = (values: number[]): Buffer => Buffer.from(Uint16Array.from(values).buffer);
  let link: { part: Buffer; offset: number } = { part: parts[0]!, offset: 4 };
  for (const p of pictures) {
    const { buffer, byteOffset, byteLength, BYTES_PER_ELEMENT } = p.values;
    const data = add(Buffer.from(buffer, byteOffset, byteLength));
    const tags: [number, number[], boolean?][] = [
      [256, [p.width]],
      [257, [p.height]],
      [258, new Array(p.bands).fill(8 * BYTES_PER_ELEMENT)],
      [259, [1]],
      [262, [p.photometric]],
      [273, [data], true],
      [277, [p.bands]],
      [278, [p.height]],
      [279, [byteLength], true],
      [339, new Array(p.bands).fill(p.format ?? 1)],
    ];
    if (p.extra) tags.push([338, p.extra]);
    if (p.colourMap) tags.push([320, p.colourMap]);
    for (const [tag, values] of p.more ?? []) {
      const old = tags.findIndex(([number]) => number === tag);
      if (old >= 0) tags.splice(old, 1);
      tags.push([tag, values]);
    }
    tags.sort((a, b) => a[0] - b[0]);
    const directory = Buffer.alloc(2 + 12 * tags.length + 4);
    directory.writeUInt16LE(tags.length);
    tags.forEach(([tag, values, long], i) => {
      const entry = 2 + 12 * i;
      directory.writeUInt16LE(tag, entry);
      directory.writeUInt16LE(long ? 4 : 3, entry + 2);
      directory.writeUInt32LE(values.length, entry + 4);
      if (long) directory.writeUInt32LE(values[0]!, entry + 8);
      else if (values.length <= 2) shorts(values).copy(directory, entry + 8);
      else directory.writeUInt32LE(add(shorts(values)), entry + 8);
    });
    link.part.writeUInt32LE(add(directory), link.offset);
    link = { part: directory, offset: directory.length - 4 };
  }
  return put(path, Buffer.concat(parts));
}
