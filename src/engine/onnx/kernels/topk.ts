// Rule of the largest values of each row: of equal ones the smaller index comes first, as TensorFlow.js has it.
import { elements } from '../../program.js';
import { defineRule } from '../rules.js';

/** x [..., n] -> values [..., k], indices int32 [..., k], descending. */
defineRule('TopK', {
  inputs: ['x'],
  infer: ([x], attrs) => {
    const shape = [...x!.shape.slice(0, -1), attrs.k as number];
    return [
      [shape, x!.dtype],
      [shape, 'int32'],
    ];
  },
  lower: (b, node, [x]) => {
    const k = b.i64([node.attrs.k as number]);
    const [values, indices] = b.nodeN('TopK', [x!, k], 2, { axis: -1, largest: 1, sorted: 1 });
    return [values!, b.node('Cast', [indices!], { to: 6 })];
  },
  flop: (n) => elements(n.inputs[0]!.shape),
});
