// The kernels that an execution provider of onnxruntime registers: read from onnxruntime's own list, kept as a small table.
import { DataError } from '../../../errors.js';

/** One registered kernel: first and last revision of the operator that it takes, and element types by type variable. */
export interface Kernel {
  from: number;
  /** null: open, which onnxruntime takes for the revision `from` alone (VerifyVersion in kernel_registry.cc). */
  to: number | null;
  types: Readonly<Record<string, readonly string[]>>;
}

/** One form of an operator: the type variable, or the element type itself, of each input and output. */
export interface Form {
  inputs: readonly string[];
  outputs: readonly string[];
}

export interface Operator {
  /** Opsets at which the operator was revised, as far as any provider's kernels tell them, ascending. */
  revisions: readonly number[];
  forms: readonly Form[];
  kernels: readonly Kernel[];
}

/** Kernels of one provider in one release. */
export interface ProviderKernels {
  /** Such as `cuda`. */
  provider: string;
  release: string;
  /** By `domain:operator`, the standard domain being `ai.onnx`. */
  operators: ReadonlyMap<string, Operator>;
}

const HEAD = /^# kernels of the provider (\S+) in (.+)$/;

const fault = (origin: string, what: string): DataError =>
  new DataError(
    `${origin} ${what}: accepted are docs/OperatorKernels.md of onnxruntime, or a table that scripts/provider-kernels.js made of it`,
  );

/** Reads a table or the list itself. @throws DataError that names `origin` */
export function readKernels(text: string, provider: string, origin: string): ProviderKernels {
  const head = HEAD.exec(text.split('\n', 1)[0]!);
  if (!head) return readOperatorKernels(text, provider, origin);
  if (head[1] !== provider) throw fault(origin, `holds the kernels of ${head[1]}, not of ${provider}`);
  const operators = new Map<string, Operator & { kernels: Kernel[] }>();
  let current: { kernels: Kernel[] } | undefined;
  for (const line of text.split('\n').slice(1)) {
    if (line === '' || line.startsWith('#')) continue;
    const [name, ...rest] = line.split('\t') as [string, ...string[]];
    if (name !== '') {
      const [revisions, forms] = rest as [string, string];
      const kernels: Kernel[] = [];
      operators.set(name, {
        revisions: revisions.split(' ').map(Number),
        forms: forms.split(' | ').map(formOf),
        kernels,
      });
      current = { kernels };
    } else {
      const [versions, types] = rest as [string, string];
      current!.kernels.push({ ...versionsOf(versions)!, types: typesOf(types, / /, /=/) });
    }
  }
  return { provider, release: head[2]!, operators };
}

/** The table as text: a line an operator (name, revisions, forms), and below it one a kernel (opsets, types). */
export function kernelTable(kernels: ProviderKernels): string {
  const lines = [`# kernels of the provider ${kernels.provider} in ${kernels.release}`];
  lines.push('# operator, revisions, inputs > outputs; below it: opsets, element types');
  for (const [name, { revisions, forms, kernels: list }] of kernels.operators) {
    const text = forms.map((f) => `${f.inputs.join(' ')} > ${f.outputs.join(' ')}`).join(' | ');
    lines.push(`${name}\t${revisions.join(' ')}\t${text}`);
    for (const { from, to, types } of list) {
      const versions = to === null ? `${from}+` : to === from ? `${from}` : `[${from}, ${to}]`;
      const words = Object.entries(types).map(([variable, names]) => `${variable}=${names.join(',')}`);
      lines.push(`\t${versions}\t${words.join(' ')}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

/**
 * Reads docs/OperatorKernels.md, which onnxruntime generates from its registered kernels. Of sequences, maps and optional types
 * nothing is kept. Kernels of one operator and one range of opsets stand there as one, their types united by variable.
 * @throws DataError when the provider has no section
 */
export function readOperatorKernels(markdown: string, provider: string, origin: string): ProviderKernels {
  const operators = new Map<string, Operator & { kernels: Kernel[] }>();
  const revisions = new Map<string, Set<number>>();
  const wanted = `${provider}executionprovider`;
  let [section, domain, name, forms] = ['', '', '', ''];
  for (const line of markdown.split('\n')) {
    section = /^## Operators implemented by (\w+)/.exec(line)?.[1]?.toLowerCase() ?? section;
    domain = /^\|\*\*Operator Domain:\*\* \*(.+?)\*/.exec(line)?.[1] ?? domain;
    const [, op, parameters, opsets, types] = line.split('|');
    const versions = versionsOf(opsets ?? '');
    if (section === '' || !versions || types === undefined) continue;
    if (op !== '') [name, forms] = [`${domain}:${op}`, parameters!];
    if (!revisions.has(name)) revisions.set(name, new Set());
    revisions.get(name)!.add(versions.from);
    if (versions.to !== null) revisions.get(name)!.add(versions.to + 1);
    if (section !== wanted || domain.startsWith('com.ms.internal')) continue;
    const known = operators.get(name) ?? { revisions: [], forms: listedForms(forms), kernels: [] };
    known.kernels.push({ ...versions, types: typesOf(types, /<br\/> /, / = /) });
    operators.set(name, known);
  }
  if (operators.size === 0) throw fault(origin, `has no kernels of the provider ${provider}`);
  for (const [key, op] of operators)
    operators.set(key, { ...op, revisions: [...revisions.get(key)!].sort((a, b) => a - b) });
  return { provider, release: origin, operators };
}

function versionsOf(text: string): { from: number; to: number | null } | undefined {
  const [, from, to, one, open] = /^(?:\[(\d+), (\d+)\]|(\d+)(\+?))$/.exec(text) ?? [];
  if (from !== undefined) return { from: Number(from), to: Number(to) };
  return one === undefined ? undefined : { from: Number(one), to: open ? null : Number(one) };
}

/** `X:T Y:T`, as the list and the table have types by variable. */
function typesOf(text: string, between: RegExp, equals: RegExp): Record<string, string[]> {
  const entries = text.split(between).flatMap((part): [string, string[]][] => {
    const [variable, names] = part.replaceAll('**', '').split(equals);
    if (names === undefined) return [];
    const tensors = names.split(/, ?/).flatMap((t) => (t.includes('(') ? tensorOf(t) : t ? [t] : []));
    return [[variable!.trim(), tensors]];
  });
  return Object.fromEntries(entries);
}

/** `tensor(float)` is float; what is no tensor is nothing. */
const tensorOf = (type: string): string[] => /^tensor\((\w+)\)$/.exec(type)?.slice(1) ?? [];

function listedForms(parameters: string): Form[] {
  return parameters.split('<br><br>or<br><br>').map((form) => {
    const arguments_ = [...form.matchAll(/\*(in|out)\* [^:]*:\*\*([^*]+)\*\*/g)];
    const of = (side: string) =>
      arguments_
        .filter((a) => a[1] === side)
        .map((a) => tensorOf(a[2]!)[0] ?? a[2]!.replaceAll(/[()]/g, '_'));
    return { inputs: of('in'), outputs: of('out') };
  });
}

function formOf(text: string): Form {
  const [inputs, outputs] = text.split('>').map((side) => side.trim().split(' ').filter(Boolean));
  return { inputs: inputs!, outputs: outputs! };
}
