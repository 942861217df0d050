// The table of kernels: for each kernel of a graph at least one row, which calls it as the product does.

import { composites } from './composites.js';
import { elementwise } from './elementwise.js';
import { moves } from './moves.js';
import { products } from './products.js';
import { reductions } from './reductions.js';
import type { Row } from './row.js';

export const kernelRows: Row[] = [...elementwise, ...moves, ...reductions, ...products, ...composites];

/** The kernel that a row is about: the first word of its name. */
export const kernelOf = (row: Row): string => row.name.split(' ')[0]!;
