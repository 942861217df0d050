// Which nodes of an ONNX model an execution provider of onnxruntime has no kernel for, found without the provider or its device.
import type { Form, Kernel, Operator, ProviderKernels } from './kernels.js';
import { elementTypeOf, isElementType, type ModelNode, type ModelText } from './model.js';

/** A node that onnxruntime would run on the CPU, and why. */
export interface FallenNode {
  node: string;
  operator: string;
  /** Element types of its inputs, `?` where they are not known. */
  types: string[];
  why: string;
}

export interface FallbackReport {
  nodes: number;
  /** Nodes without a kernel. */
  fallen: FallenNode[];
  /** Nodes that compute shapes: onnxruntime itself keeps them on the CPU, kernel or not. Not counted as fallen. */
  shape: FallenNode[];
  /** Nodes that read a tensor whose type the check could not tell: it was taken to fit. */
  unknown: number;
  /** Nodes that hold graphs of their own, into which the check does not look. */
  nested: number;
}

/**
 * Operators of the CUDA provider with outputs, and with inputs, in the memory of the host, by index: from the registrations
 * of onnxruntime 1.21.0. The list of kernels does not say it.
 */
const HOST_OUTPUTS: Readonly<Record<string, readonly number[]>> = { Shape: [0], Size: [0] };
const HOST_INPUTS: Readonly<Record<string, readonly number[]>> = {
  ConstantOfShape: [0],
  CumSum: [1],
  Dropout: [1, 2],
  Expand: [1],
  If: [0],
  Loop: [0, 1],
  OneHot: [1, 2],
  Pad: [1, 2, 3],
  Range: [0, 1, 2],
  ReduceMax: [1],
  ReduceMean: [1],
  ReduceMin: [1],
  ReduceProd: [1],
  ReduceSum: [1],
  Reshape: [1],
  Resize: [1, 2, 3],
  Slice: [1, 2, 3, 4],
  Split: [1],
  Squeeze: [1],
  Tile: [1],
  TopK: [1],
  Trilu: [1],
  Unsqueeze: [1],
};
/** Elements of an initialiser up to which onnxruntime takes it for part of a shape. */
const SMALL = 100;
const HALF = new Set([
  'float16',
  'bfloat16',
  'float8e4m3fn',
  'float8e4m3fnuz',
  'float8e5m2',
  'float8e5m2fnuz',
]);

const nameOf = (n: ModelNode): string => n.name || n.outputs[0] || n.op;
const keyOf = (n: ModelNode): string => `${n.domain}:${n.op}`;

/**
 * Walks the nodes in order, with the element type of every tensor carried along, and holds each against the provider's kernels
 * as onnxruntime does: the operator's revision at the model's opset, then the types of its type variables. Kernels that differ
 * in several variables at once stand united in the list, so that a pair of types which no single kernel has goes unseen.
 * Optimisations of onnxruntime, which come first, are not replayed.
 */
export function checkFallback(model: ModelText, kernels: ProviderKernels): FallbackReport {
  const types = new Map(model.types);
  const fallen = new Map<ModelNode, FallenNode>();
  let unknown = 0;
  for (const node of model.nodes) {
    const operator = kernels.operators.get(keyOf(node));
    const given = node.inputs.map((x) => (x === '' ? undefined : types.get(x)));
    if (node.inputs.some((x, i) => x !== '' && given[i] === undefined)) unknown++;
    const form = operator && formOf(operator, given);
    const why = operator
      ? form
        ? whyNot(operator, form, node, given, model.opsets.get(node.domain) ?? 1)
        : `${node.inputs.length} inputs of types ${given.map((t) => t ?? '?').join(', ')} fit no form of it`
      : `${kernels.provider} has no kernel for it`;
    if (why) fallen.set(node, describe(node, given, why));
    for (const [i, output] of node.outputs.entries()) {
      const type = outputType(node, i, given, form, operator);
      if (type && !types.has(output)) types.set(output, type);
    }
  }
  const shape = shapeNodes(model, fallen, types).map((node) =>
    describe(
      node,
      node.inputs.map((x) => types.get(x)),
      'computes a shape',
    ),
  );
  return {
    nodes: model.nodes.length,
    fallen: [...fallen.values()],
    shape,
    unknown,
    nested: model.nodes.filter((n) => n.nested).length,
  };
}

function describe(node: ModelNode, given: (string | undefined)[], why: string): FallenNode {
  return {
    node: nameOf(node),
    operator: keyOf(node).replace(/^ai\.onnx:/, ''),
    types: given.map((t) => t ?? '?'),
    why,
  };
}

/** The form of the operator that takes inputs so many and of such types; the last input repeats where no form is long enough. */
function formOf(operator: Operator, given: (string | undefined)[]): Form | undefined {
  const longest = Math.max(...operator.forms.map((f) => f.inputs.length));
  const fits = (form: Form): boolean =>
    (form.inputs.length >= given.length || form.inputs.length === longest) &&
    given.every((type, i) => {
      const formal = form.inputs[i] ?? form.inputs.at(-1);
      return formal !== undefined && (!type || !isElementType(formal) || formal === type);
    });
  const names = (form: Form): boolean =>
    operator.kernels.some((k) =>
      Object.keys(k.types).every((v) => [...form.inputs, ...form.outputs].includes(v)),
    );
  const forms = operator.forms.filter(fits);
  return forms.find(names) ?? forms[0];
}

function whyNot(
  operator: Operator,
  form: Form,
  node: ModelNode,
  given: (string | undefined)[],
  opset: number,
): string | undefined {
  const revision = operator.revisions.filter((r) => r <= opset).at(-1);
  if (revision === undefined) return `it does not exist at opset ${opset}`;
  const takes = (k: Kernel): boolean =>
    k.from === revision || (k.to !== null && k.from <= revision && revision <= k.to);
  const kernels = operator.kernels.filter(takes);
  if (kernels.length === 0) {
    const have = operator.kernels.map((k) => (k.to === null ? k.from : `${k.from} to ${k.to}`)).join(', ');
    return `at opset ${opset} it is revision ${revision}; the kernels are for ${have}`;
  }
  const faults = kernels.map((kernel) =>
    Object.entries(kernel.types).find(([variable, allowed]) => {
      const type = boundType(node, given, form, variable);
      return type !== undefined && !allowed.includes(type);
    }),
  );
  if (faults.includes(undefined)) return undefined;
  const [variable, allowed] = faults[0]!;
  return `${variable} is ${boundType(node, given, form, variable)}; the kernel takes ${allowed.join(', ')}`;
}

/** The type that a variable of a form has at a node: that of the first input with it, or of a result that an attribute states. */
function boundType(
  node: ModelNode,
  given: (string | undefined)[],
  form: Form,
  variable: string,
): string | undefined {
  const i = form.inputs.indexOf(variable);
  if (i >= 0) return given[i];
  const out = form.outputs.indexOf(variable);
  return out >= 0 ? statedType(node, out) : undefined;
}

/** The element type of a result that attributes state, codes as in TensorProto.DataType. */
function statedType(node: ModelNode, output: number): string | undefined {
  const code = node.op === 'Cast' ? node.ints.to : output > 0 ? node.ints.stash_type : node.ints.dtype;
  if (code !== undefined) return elementTypeOf(code);
  return node.op.startsWith('Constant') ? (node.tensor ?? 'float') : undefined;
}

function outputType(
  node: ModelNode,
  output: number,
  given: (string | undefined)[],
  form: Form | undefined,
  operator: Operator | undefined,
): string | undefined {
  const stated = statedType(node, output);
  if (stated || !form) return stated;
  const formal = form.outputs[output] ?? form.outputs.at(-1)!;
  if (isElementType(formal)) return formal;
  const bound = boundType(node, given, form, formal);
  if (bound) return bound;
  const only = new Set(operator!.kernels.flatMap((k) => k.types[formal] ?? []));
  return only.size === 1 ? [...only][0] : undefined;
}

/**
 * The nodes that onnxruntime keeps on the CPU although the provider has kernels for them, because they compute shapes from what
 * is in the memory of the host already (GetCpuPreferredNodes in fallback_cpu_capability.cc), and the Shape and Size nodes that
 * they start from.
 */
function shapeNodes(
  model: ModelText,
  fallen: ReadonlyMap<ModelNode, FallenNode>,
  types: ReadonlyMap<string, string>,
): ModelNode[] {
  const onHost = new Set<string>();
  const found: ModelNode[] = [];
  for (const node of model.nodes) {
    const host = HOST_OUTPUTS[node.op];
    if (host && !fallen.has(node)) {
      for (const i of host) if (node.outputs[i]) onHost.add(node.outputs[i]);
      found.push(node);
      continue;
    }
    const reads = node.inputs.some((x) => onHost.has(x));
    if (!reads) continue;
    const stays =
      fallen.has(node) ||
      node.inputs.every((x, i) => {
        if (HALF.has(types.get(x) ?? '')) return false;
        if ((model.initialisers.get(x) ?? Number.POSITIVE_INFINITY) <= SMALL || model.inputs.has(x))
          return true;
        return onHost.has(x) && !HOST_INPUTS[node.op]?.includes(i);
      });
    if (!stays) continue;
    for (const x of node.outputs) onHost.add(x);
    if (!fallen.has(node)) found.push(node);
  }
  return found;
}
