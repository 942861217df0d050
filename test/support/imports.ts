// Reads the imports and functions of the project's TypeScript files, for the rules of test/architecture.test.ts.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** Root of the project. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** One import of a file. `kind` says when it is loaded: with the file, by `import()` or `require` when reached, or never (types). */
export interface Import {
  /** As written: a relative path, a package or a node: module. */
  specifier: string;
  /** The file of the project that it stands for (src/..., commands/...); undefined for a package. */
  file?: string;
  kind: 'static' | 'dynamic' | 'type';
}

/** The paths of all .ts files below the folders, relative to the root, sorted. */
export function sourceFiles(...folders: string[]): string[] {
  return folders
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) =>
        posix.join(folder, name),
      ),
    )
    .filter((name) => name.endsWith('.ts'))
    .sort();
}

export function textOf(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

/** Every import of a file, in the order written. `text` is what the file holds. */
export function importsOf(file: string, text = textOf(file)): Import[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const imports: Import[] = [];
  const add = (literal: ts.Node | undefined, kind: Import['kind']) => {
    if (literal === undefined || !ts.isStringLiteralLike(literal)) return;
    const specifier = literal.text;
    const target = specifier.startsWith('.')
      ? posix.join(dirname(file), specifier).replace(/\.js$/, '.ts')
      : undefined;
    imports.push({ specifier, file: target, kind });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node))
      add(node.moduleSpecifier, onlyTypes(node.importClause) ? 'type' : 'static');
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly ? 'type' : 'static');
    else if (ts.isImportEqualsDeclaration(node) && ts.isExternalModuleReference(node.moduleReference))
      add(node.moduleReference.expression, 'static');
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
      add(node.argument.literal, 'type');
    else if (ts.isCallExpression(node) && loadsModule(node.expression)) add(node.arguments[0], 'dynamic');
    ts.forEachChild(node, visit);
  };
  visit(source);
  return imports;
}

/** `import type`, or an import whose names are all types: the compiler leaves it out. */
function onlyTypes(clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false;
  if (clause.isTypeOnly) return true;
  const names = clause.namedBindings;
  const listed = names !== undefined && ts.isNamedImports(names) ? names.elements : undefined;
  return (
    clause.name === undefined &&
    listed !== undefined &&
    listed.length > 0 &&
    listed.every((name) => name.isTypeOnly)
  );
}

/** `import(...)`, `require(...)`, `require.resolve(...)`, or a call of what `createRequire` made under such a name. */
function loadsModule(callee: ts.Expression): boolean {
  if (callee.kind === ts.SyntaxKind.ImportKeyword) return true;
  const name = ts.isPropertyAccessExpression(callee) ? callee.expression.getText() : callee.getText();
  return name === 'require' || /^createRequire\(/.test(name);
}

/** The package of a specifier: `@scope/name` or `name`, without what follows. */
export function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

/** The circles of a graph of files by what each imports: the sets of files that reach each other (Tarjan), sorted. */
export function circles(edges: ReadonlyMap<string, readonly string[]>): string[][] {
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  const found: string[][] = [];
  const visit = (file: string): number => {
    order.set(file, order.size);
    lowest.set(file, order.get(file)!);
    open.push(file);
    for (const target of edges.get(file) ?? []) {
      if (!edges.has(target)) continue;
      const reached = order.has(target)
        ? open.includes(target)
          ? order.get(target)!
          : Infinity
        : visit(target);
      lowest.set(file, Math.min(lowest.get(file)!, reached));
    }
    if (lowest.get(file) === order.get(file)) {
      const circle = open.splice(open.indexOf(file)).sort();
      if (circle.length > 1 || edges.get(file)!.includes(file)) found.push(circle);
    }
    return lowest.get(file)!;
  };
  for (const file of edges.keys()) if (!order.has(file)) visit(file);
  return found.sort();
}

/** A function of a file: its name (or that of what it is given to), first line, and length in lines without comments before it. */
export interface FunctionLength {
  name: string;
  line: number;
  lines: number;
}

/** Every function, method and arrow function of a file, those inside others too. `text` is what the file holds. */
export function functionsOf(file: string, text = textOf(file)): FunctionLength[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const lineOf = (position: number): number => source.getLineAndCharacterOfPosition(position).line + 1;
  const found: FunctionLength[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body) {
      const named =
        node.name ?? ('name' in node.parent ? (node.parent.name as ts.Node | undefined) : undefined);
      const line = lineOf(node.getStart());
      found.push({ name: named?.getText() ?? '(no name)', line, lines: lineOf(node.end) - line + 1 });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}
