// Small ONNX encoders made node by node, good ones and bad ones: the mean of each channel over patches of 4 x 4, times whatever a test puts in.
import { writeFileSync } from 'node:fs';
import onnxProto from 'onnx-proto';
import { stringify } from 'yaml';

export const { onnx } = onnxProto as unknown as { onnx: typeof import('onnx-proto').onnx };

export const node = (opType: string, input: string[], output: string, attribute: object[] = []) => ({
  opType,
  input,
  output: [output],
  attribute,
});
export const ints = (name: string, v: number[]) => ({ name, type: 7, ints: v });
export const int = (name: string, i: number) => ({ name, type: 2, i });
export const graphOf = (name: string, g: object) => ({ name, type: 5, g });
export const tensorOf = (name: string, t: object) => ({ name, type: 4, t });

export const floats = (name: string, values: number[], dims = [values.length]) => ({
  name,
  dims,
  dataType: 1,
  rawData: new Uint8Array(Float32Array.from(values).buffer),
});
export const whole = (name: string, values: number[], dims: number[] = [values.length]) => ({
  name,
  dims,
  dataType: 7,
  rawData: new Uint8Array(BigInt64Array.from(values, BigInt).buffer),
});
export const yes = (name: string) => ({ name, dims: [], dataType: 9, rawData: Uint8Array.of(1) });
/** A float32 tensor whose values lie in a file. */
export const external = (name: string, dims: number[], entries: Record<string, string>) => ({
  name,
  dims,
  dataType: 1,
  dataLocation: 1,
  externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
});

export const value = (name: string, elemType: number, dims: (number | string)[]) => ({
  name,
  type: {
    tensorType: {
      elemType,
      shape: { dim: dims.map((d) => (typeof d === 'number' ? { dimValue: d } : { dimParam: d })) },
    },
  },
});

/** Nodes of a loop without end: only a signal that no program can catch stops it. */
export const endless = {
  nodes: [
    node('Loop', ['', 'yes', 'means'], 'maps', [
      graphOf('body', {
        name: 'body',
        node: [node('Identity', ['on'], 'still'), node('Identity', ['v'], 'w')],
        input: [value('i', 7, []), value('on', 9, []), value('v', 1, ['a', 'b', 'c', 'd'])],
        output: [value('still', 9, []), value('w', 1, ['a', 'b', 'c', 'd'])],
      }),
    ]),
  ],
  initializer: [yes('yes')],
};

export interface Parts {
  /** Nodes that make `maps` of `means` [n, 3, rows, columns]; without, they are the same. */
  nodes?: object[];
  initializer?: object[];
  sparseInitializer?: object[];
  batch?: number | string;
  opset?: number;
  /** Pixels of a side; an open one without. */
  side?: number;
}

/** Writes a model with its adapter (input `x` of 8 x 8 pixels, patches `maps` [n, 3, 2, 2]). */
export function writeEncoder(path: string, o: Parts = {}): string {
  const { batch = 'n', nodes = [node('Identity', ['means'], 'maps')] } = o;
  const model = onnx.ModelProto.create({
    irVersion: 8,
    opsetImport: [{ domain: '', version: o.opset ?? 15 }],
    graph: {
      name: 'made',
      node: [
        node('AveragePool', ['x'], 'means', [ints('kernel_shape', [4, 4]), ints('strides', [4, 4])]),
        ...nodes,
      ],
      initializer: o.initializer ?? [],
      sparseInitializer: o.sparseInitializer ?? [],
      input: [value('x', 1, [batch, 3, o.side ?? 'h', o.side ?? 'w'])],
      output: [value('maps', 1, [batch, 'c', 'rows', 'columns'])],
    },
  } as never);
  writeFileSync(path, onnx.ModelProto.encode(model).finish());
  const adapter = {
    input: { name: 'x', layout: 'nchw' },
    size: 8,
    patch: 4,
    normalise: 'imagenet',
    outputs: { patches: { output: 'maps', layout: 'nchw' } },
  };
  writeFileSync(`${path}.yaml`, stringify(adapter));
  return path;
}
