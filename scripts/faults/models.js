// What the cases of models are made of: ONNX encoders node by node, zip archives and pickles by hand, safetensors headers as text.

import { writeFileSync } from 'node:fs';
import { deflateRawSync } from 'node:zlib';
import onnxProto from 'onnx-proto';

const { onnx } = onnxProto;

export const node = (opType, input, output, attribute = []) => ({
  opType,
  input,
  output: [output],
  attribute,
});
export const floats = (name, values, dims = [values.length]) => ({
  name,
  dims,
  dataType: 1,
  rawData: new Uint8Array(Float32Array.from(values).buffer),
});
export const whole = (name, values, dims = [values.length]) => ({
  name,
  dims,
  dataType: 7,
  rawData: new Uint8Array(BigInt64Array.from(values, BigInt).buffer),
});
export const yes = (name) => ({ name, dims: [], dataType: 9, rawData: Uint8Array.of(1) });
export const external = (name, dims, entries) => ({
  name,
  dims,
  dataType: 1,
  dataLocation: 1,
  externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
});
export const value = (name, elemType, dims) => ({
  name,
  type: {
    tensorType: {
      elemType,
      shape: { dim: dims.map((d) => (typeof d === 'number' ? { dimValue: d } : { dimParam: d })) },
    },
  },
});
export const graphOf = (name, g) => ({ name, type: 5, g });

/** The adapter of `encoder`. */
export const ADAPTER = `input: {name: x, layout: nchw}
size: 16
patch: 8
normalise: imagenet
outputs: {patches: {output: maps, layout: nchw}}
`;

/** An encoder of patches of 8 x 8: `nodes` make `maps` [n, c, 2, 2] of `means` [n, 3, 2, 2]. */
export function encoder(
  path,
  { nodes, initializer = [], sparseInitializer = [], batch = 'n', input, adapter } = {},
) {
  const pool = node('AveragePool', ['x'], 'means', [
    { name: 'kernel_shape', type: 7, ints: [8, 8] },
    { name: 'strides', type: 7, ints: [8, 8] },
  ]);
  const model = onnx.ModelProto.create({
    irVersion: 8,
    opsetImport: [{ domain: '', version: 15 }],
    graph: {
      name: 'made',
      node: [pool, ...(nodes ?? [node('Identity', ['means'], 'maps')])],
      initializer,
      sparseInitializer,
      input: input ?? [value('x', 1, [batch, 3, 'h', 'w'])],
      output: [value('maps', 1, [batch, 'c', 'rows', 'columns'])],
    },
  });
  writeFileSync(path, onnx.ModelProto.encode(model).finish());
  writeFileSync(`${path}.yaml`, adapter ?? ADAPTER);
  return path;
}

const u16 = (v) => Buffer.from([v & 255, v >> 8]);
const u32 = (v) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(v >>> 0);
  return bytes;
};

const TABLE = Int32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  return c;
});
function crc32(bytes) {
  let c = -1;
  for (let i = 0; i < bytes.length; i++) c = TABLE[(c ^ bytes[i]) & 255] ^ (c >>> 8);
  return ~c >>> 0;
}

/** A zip archive of members {name, bytes, deflate, size}; `size` is what it claims instead of the truth. */
export function zip(members) {
  const [parts, directory] = [[], []];
  let offset = 0;
  for (const { name, bytes, deflate = false, size = bytes.length } of members) {
    const packed = deflate ? deflateRawSync(bytes) : Buffer.from(bytes);
    const fields = Buffer.concat([
      u16(20),
      u16(0),
      u16(deflate ? 8 : 0),
      u32(0),
      u32(crc32(bytes)),
      u32(packed.length),
      u32(size),
      u16(name.length),
      u16(0),
    ]);
    parts.push(u32(0x04034b50), fields, Buffer.from(name), packed);
    const more = Buffer.concat([u16(0), u16(0), u16(0), u32(0), u32(offset)]);
    directory.push(u32(0x02014b50), u16(20), fields, more, Buffer.from(name));
    offset += 30 + name.length + packed.length;
  }
  const central = Buffer.concat(directory);
  const count = u16(members.length);
  return Buffer.concat([
    ...parts,
    central,
    u32(0x06054b50),
    u32(0),
    count,
    count,
    u32(central.length),
    u32(offset),
    u16(0),
  ]);
}

/** A checkpoint of torch around the bytes of a pickle. */
export const pth = (pickle, deflate = false) => zip([{ name: 'x/data.pkl', bytes: pickle, deflate }]);
export const pickle = (...parts) =>
  Buffer.concat([
    Buffer.from([0x80, 2]),
    ...parts.map((p) => (typeof p === 'string' ? Buffer.from(p, 'latin1') : Buffer.from(p))),
  ]);

/** A safetensors file with this header, whatever it says, and so many bytes of zeros after it. */
export function safetensors(header, bytes = 0) {
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
  return Buffer.concat([prefix, Buffer.from(header), Buffer.alloc(bytes)]);
}

/** The tensors of a safetensors file by name, {dtype, shape, data}. */
export function tensorsOf(bytes) {
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length));
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== '__metadata__')
      .map(
        ([
          name,
          {
            dtype,
            shape,
            data_offsets: [a, b],
          },
        ]) => [name, { dtype, shape, data: Buffer.from(bytes.subarray(8 + length + a, 8 + length + b)) }],
      ),
  );
}

/** A safetensors file of such tensors. */
export function filled(tensors, metadata) {
  let at = 0;
  const header = metadata ? { __metadata__: metadata } : {};
  for (const [name, { dtype, shape, data }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [at, at + data.length] };
    at += data.length;
  }
  const text = JSON.stringify(header);
  return Buffer.concat([safetensors(text), ...[...tensors.values()].map(({ data }) => data)]);
}
