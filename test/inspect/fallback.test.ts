// The fallback check: empty for every program of the product against CUDA's kernels, and it sees an operator, a type and an opset that are missing.

import { readFileSync } from 'node:fs';
import onnxProto from 'onnx-proto';
import { describe, expect, it } from 'vitest';
import { readGrid } from '../../src/ablate/grid.js';
import { armConfig } from '../../src/ablate/plan.js';
import { flatten, type Mapping } from '../../src/config/keys.js';
import { checkFallback } from '../../src/engine/onnx/fallback/check.js';
import { kernelTable, readKernels } from '../../src/engine/onnx/fallback/kernels.js';
import { readModel } from '../../src/engine/onnx/fallback/model.js';
import { DataError, UsageError } from '../../src/errors.js';
import { inspectFallback, loweredModel, providerKernels } from '../../src/inspect/fallback.js';
import { stepProgram } from '../../src/pretrain/step.js';
import { encoderCase, pixels, productCases } from '../engine/configs.js';

const { onnx } = onnxProto as unknown as { onnx: typeof import('onnx-proto').onnx };
/** Blocks repeat the same nodes, and a batch only changes sizes. */
const short = { 'train.batch': 4, 'model.depth': 2, 'model.predictor.depth': 1 };
const cuda = providerKernels('cuda');
const clean = { fallen: [], shape: [], unknown: 0, nested: 0 };

describe('against the kernels of CUDA', () => {
  it('every program of the conformance suite stays on the device', () => {
    for (const { program } of productCases()) {
      const report = checkFallback(loweredModel(program), cuda);
      expect(report, program.name).toMatchObject(clean);
      expect(report.nodes).toBeGreaterThan(50);
    }
  });

  it('an encoder with its weights built in does', () => {
    const { program } = encoderCase();
    const open = checkFallback(loweredModel(program), cuda);
    const frozen = checkFallback(loweredModel(program, { frozen: true }), cuda);
    expect(frozen).toMatchObject(clean);
    expect(frozen.nodes).toBeLessThan(open.nodes); // what depends on weights alone is folded
  });

  it.each(['step', 'encoder'] as const)('the %s of vit-s-14 does', (program) => {
    const report = inspectFallback({ preset: 'vit-s-14' }, { program, batch: 2, provider: 'cuda' });
    expect(report).toMatchObject({ ...clean, provider: 'cuda', opsets: { 'ai.onnx': 18 } });
  });

  it('every arm of the ablation in benchmarks/ablations/small does', () => {
    const baseValue = (base: string, set: Record<string, unknown>, key: string) =>
      flatten(armConfig({ base, set, threads: 1 }, {}) as unknown as Mapping).get(key);
    const grid = readGrid({ grids: ['benchmarks/ablations/small/table1.yaml'], set: {}, baseValue });
    expect(grid.arms.length).toBeGreaterThan(10);
    for (const { name, settings } of grid.arms) {
      const config = armConfig({ ...grid, set: { ...grid.set, ...short } }, settings);
      const report = checkFallback(loweredModel(stepProgram(config, pixels)), cuda);
      expect(report, name).toMatchObject(clean);
    }
  });
});

interface Planted {
  op: string;
  inputs: string[];
  outputs?: string[];
  domain?: string;
  ints?: Record<string, number>;
}
const CODE = { float: 1, uint8: 2, int32: 6, int64: 7, bool: 9 } as const;

/** A model of these nodes; inputs are `x`, named after the type, and a small constant `shape`. */
function model(nodes: Planted[], opset = 18) {
  const types = Object.entries(CODE);
  const graph = {
    name: 'planted',
    input: types.map(([name, elemType]) => ({ name, type: { tensorType: { elemType } } })),
    initializer: [{ name: 'shape', dims: [2], dataType: CODE.int64, rawData: new Uint8Array(16) }],
    node: nodes.map(({ op, inputs, outputs, domain, ints }, i) => ({
      name: `${op}_${i}`,
      opType: op,
      domain: domain ?? '',
      input: inputs,
      output: outputs ?? [`y${i}`],
      attribute: Object.entries(ints ?? {}).map(([name, value]) => ({ name, type: 2, i: value })),
    })),
  };
  const opsetImport = [{ domain: '', version: opset }];
  return readModel(
    onnx.ModelProto.encode(onnx.ModelProto.create({ opsetImport, graph })).finish(),
    'planted',
  );
}
const reasons = (nodes: Planted[], opset?: number): string[] =>
  checkFallback(model(nodes, opset), cuda).fallen.map(({ node, why }) => `${node}: ${why}`);

describe('what is planted is found', () => {
  it('an operator that CUDA lacks, and one of another domain', () => {
    expect(reasons([{ op: 'Det', inputs: ['float'] }])).toEqual(['Det_0: cuda has no kernel for it']);
    expect(reasons([{ op: 'Gelu', inputs: ['float'] }])[0]).toMatch('it does not exist at opset 18');
    expect(reasons([{ op: 'Gelu', inputs: ['float'], domain: 'com.microsoft' }])).toEqual([]);
  });

  it('a type, also one that a node in between made', () => {
    expect(reasons([{ op: 'Add', inputs: ['float', 'float'] }])).toEqual([]);
    expect(reasons([{ op: 'Add', inputs: ['bool', 'bool'] }])[0]).toMatch(
      /^Add_0: T is bool; the kernel takes .*float/,
    );
    const through = (to: number): Planted[] => [
      { op: 'Cast', inputs: ['uint8'], ints: { to } },
      { op: 'Reshape', inputs: ['y0', 'shape'] },
      { op: 'Exp', inputs: ['y1'] },
    ];
    expect(reasons(through(CODE.float))).toEqual([]);
    expect(reasons(through(CODE.int32))).toEqual([
      'Exp_2: T is int32; the kernel takes bfloat16, double, float, float16',
    ]);
    expect(reasons([{ op: 'Reshape', inputs: ['float', 'int32'] }])[0]).toMatch(
      'of types float, int32 fit no form of it',
    );
  });

  it('indices of a type that Gather does not take, and the result of a comparison', () => {
    expect(reasons([{ op: 'Gather', inputs: ['float', 'int32'] }])).toEqual([]);
    expect(reasons([{ op: 'Gather', inputs: ['float', 'uint8'] }])[0]).toMatch('Tind is uint8');
    const chosen = (value: string): Planted[] => [
      { op: 'Greater', inputs: ['float', 'float'] },
      { op: 'Where', inputs: ['y0', value, value] },
    ];
    expect(reasons(chosen('int32'))).toEqual([]);
    expect(reasons(chosen('bool'))[0]).toMatch('Where_1: T is bool');
  });

  it('an opset: a kernel without an end is for its own revision alone', () => {
    const pad: Planted[] = [{ op: 'Pad', inputs: ['float', 'shape'] }];
    expect(reasons(pad)).toEqual([]);
    expect(reasons(pad, 19)[0]).toMatch('at opset 19 it is revision 19; the kernels are for 18');
  });

  it('a fallen node does not hide what comes after it', () => {
    const nodes = [
      { op: 'Det', inputs: ['float'] },
      { op: 'Add', inputs: ['y0', 'y0'] },
      { op: 'Det', inputs: ['y1'] },
    ];
    const report = checkFallback(model(nodes), cuda);
    expect(report.fallen.map(({ node }) => node)).toEqual(['Det_0', 'Det_2']);
    expect(report.unknown).toBe(2); // Det is no operator of the table, so its result has no type
  });
});

describe('shape nodes', () => {
  // Shape -> Mul -> Reshape, as a file with an open batch has it.
  const nodes: Planted[] = [
    { op: 'Shape', inputs: ['float'] },
    { op: 'Mul', inputs: ['y0', 'shape'] },
    { op: 'Reshape', inputs: ['float', 'y1'] },
    { op: 'Exp', inputs: ['y2'] },
  ];
  it('are listed apart and not counted', () => {
    const report = checkFallback(model(nodes), cuda);
    expect(report.fallen).toEqual([]);
    expect(report.shape.map(({ node }) => node)).toEqual(['Shape_0', 'Mul_1']);
  });

  it('end where a tensor of the device comes in', () => {
    const large = [
      nodes[0]!,
      { op: 'Cast', inputs: ['y0'], ints: { to: CODE.float } },
      { op: 'Exp', inputs: ['float'] },
    ];
    const mixed = [...large, { op: 'Add', inputs: ['y1', 'y2'] }];
    expect(checkFallback(model(mixed), cuda).shape.map(({ node }) => node)).toEqual(['Shape_0', 'Cast_1']);
  });
});

describe('the table of kernels', () => {
  const list = `## Operators implemented by CPUExecutionProvider
|**Operator Domain:** *ai.onnx*||||
|Foo|*in* X:**T**<br> *in* n:**tensor(int64)**<br> *out* Y:**T**|17+|**T** = tensor(float)|
|||[9, 16]|**T** = tensor(float)|
## Operators implemented by CUDAExecutionProvider
| Op Name | Parameters | OpSet Version | Types Supported |
|**Operator Domain:** *ai.onnx*||||
|Foo|*in* X:**T**<br> *in* n:**tensor(int64)**<br> *out* Y:**T**<br><br>or<br><br>*in* X:**T**<br> *out* Y:**T**|[9, 16]|**T** = seq(tensor(float)), tensor(double), tensor(float)<br/> **U** = tensor(bool)|
|||7|**T** = tensor(float)|
|**Operator Domain:** *com.microsoft*||||
|Bar|*in* X:**T**<br> *out* Y:**T**|1+|**T** = tensor(float16)|
`;
  it('is read from the list of onnxruntime, with the revisions that other providers tell', () => {
    const { operators } = readKernels(list, 'cuda', 'list.md');
    expect([...operators.keys()]).toEqual(['ai.onnx:Foo', 'com.microsoft:Bar']);
    expect(operators.get('ai.onnx:Foo')).toEqual({
      revisions: [7, 8, 9, 17],
      forms: [
        { inputs: ['T', 'int64'], outputs: ['T'] },
        { inputs: ['T'], outputs: ['T'] },
      ],
      kernels: [
        { from: 9, to: 16, types: { T: ['double', 'float'], U: ['bool'] } },
        { from: 7, to: 7, types: { T: ['float'] } },
      ],
    });
    expect(operators.get('com.microsoft:Bar')!.kernels).toEqual([
      { from: 1, to: null, types: { T: ['float16'] } },
    ]);
  });

  it('survives being written and read', () => {
    const kernels = { ...readKernels(list, 'cuda', 'list.md'), release: 'onnxruntime 1.2.3' };
    expect(readKernels(kernelTable(kernels), 'cuda', 'table')).toEqual(kernels);
    const path = 'benchmarks/onnxruntime/cuda.tsv';
    expect(kernelTable(cuda)).toBe(readFileSync(path, 'utf8'));
    expect(cuda.release).toBe('onnxruntime 1.21.0');
  });

  it('refuses what is neither, and a provider that it has not', () => {
    expect(() => readKernels('hello', 'cuda', 'x.md')).toThrow(DataError);
    expect(() => readKernels(list, 'webgpu', 'x.md')).toThrow('x.md has no kernels of the provider webgpu');
    expect(() => providerKernels('vulkan')).toThrow('accepted: cuda, or any');
    expect(() => providerKernels('cuda', 'absent.md')).toThrow(UsageError);
  });
});
