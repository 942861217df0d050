// State that a program reads and writes as one row lies side by side: its optimisers then work in place on long rows.
import { elements } from '../program.js';
import { type Graph, useCounts, type Value } from './ir.js';

/** Names of the state tensors that lie side by side, in their order, by the name of the input that is all of them. */
export type StateRows = Record<string, string[]>;

/**
 * Each `Flat` of state becomes an input of the graph, and each `Unflat` into the next values of the same tensors an output, under one name:
 * whoever binds them sees to it that the tensors lie side by side. The others stay as they are and move their values, as do tensors
 * that do not hold a multiple of `unit` values.
 */
export function stateRows(
  graph: Graph,
  state: readonly string[],
  unit = 1,
): { graph: Graph; rows: StateRows } {
  const read = new Map<Value, string>();
  for (const { name, value } of graph.inputs) {
    if (state.includes(name) && elements(value.shape) % unit === 0) read.set(value, name);
  }
  const rows: StateRows = {};
  const taken = new Set<string>();
  const inputs = [...graph.inputs];
  let nodes = graph.nodes.filter((node) => {
    const names = node.inputs.flatMap((v) => read.get(v) ?? []);
    const whole = names.length === node.inputs.length && new Set(names).size === names.length;
    if (node.kernel !== 'Flat' || !whole || names.some((name) => taken.has(name))) return true;
    const row = `row of ${names[0]}`;
    rows[row] = names;
    for (const name of names) taken.add(name);
    inputs.push({ name: row, value: node.outputs[0]! });
    return false;
  });

  const uses = useCounts(graph);
  const written = new Map<Value, string>();
  for (const { name, value } of graph.outputs) if (uses.get(value) === 1) written.set(value, name);
  const rowOf = new Map(Object.entries(rows).map(([row, names]) => [names.join('\n'), row]));
  const outputs = [...graph.outputs];
  nodes = nodes.filter((node) => {
    const names = node.outputs.flatMap((v) => written.get(v) ?? []);
    const row = rowOf.get(names.join('\n'));
    if (node.kernel !== 'Unflat' || names.length !== node.outputs.length || row === undefined) return true;
    outputs.push({ name: row, value: node.inputs[0]! });
    return false;
  });
  const gone = new Set(outputs.slice(graph.outputs.length).flatMap(({ name }) => rows[name]!));
  return { graph: { ...graph, inputs, nodes, outputs: outputs.filter(({ name }) => !gone.has(name)) }, rows };
}
