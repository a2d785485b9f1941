import { globSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import ts from 'typescript';

/** A file of the project, by its path from the project's folder. */
export interface SourceText {
  readonly path: string;
  readonly text: string;
}

/** One way in which a file reaches for another one, or for a package. */
export interface Import {
  readonly path: string;
  /** A path from the project's folder for a file, the name as written for a package or a part of Node. */
  readonly target: string;
  readonly isFile: boolean;
  /** A type import is erased: nothing is loaded at run time. */
  readonly kind: 'type' | 'value';
  /** The names taken, by their names in the target; `*` for all of them. */
  readonly names: readonly string[];
}

const ROOT = posix.join(import.meta.dirname, '../..');

/** Every hand-written or generated file the house rules speak of. */
export const readTree = (): SourceText[] =>
  globSync(['{src,resolvers,directives,schema,test,bench}/**/*.{ts,js,mjs,cjs,mts,cts,graphql}', '*.ts'], { cwd: ROOT })
    .sort()
    .map((path) => ({ path, text: readFileSync(posix.join(ROOT, path), 'utf8') }));

export const parse = ({ path, text }: SourceText): ts.SourceFile =>
  ts.createSourceFile(path, text, ts.ScriptTarget.ESNext, true);

export function visitAll(node: ts.Node, visitor: (node: ts.Node) => void): void {
  visitor(node);
  ts.forEachChild(node, (child) => visitAll(child, visitor));
}

type Found = Pick<Import, 'kind' | 'names'> & { readonly specifier: ts.Node | undefined };

/** `import {type A} from 'x'` still loads x (verbatimModuleSyntax): only `import type` is a type import. */
function fromImport({ importClause, moduleSpecifier }: ts.ImportDeclaration): Found {
  const kind = importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword ? 'type' : 'value';
  const bindings = importClause?.namedBindings;
  const named =
    bindings && ts.isNamedImports(bindings)
      ? bindings.elements.map(({ name, propertyName }) => (propertyName ?? name).text)
      : bindings
        ? ['*']
        : [];
  return { kind, names: [...(importClause?.name ? ['default'] : []), ...named], specifier: moduleSpecifier };
}

function fromExport({ isTypeOnly, exportClause, moduleSpecifier }: ts.ExportDeclaration): Found | null {
  if (!moduleSpecifier) return null;
  const names =
    exportClause && ts.isNamedExports(exportClause)
      ? exportClause.elements.map(({ name, propertyName }) => (propertyName ?? name).text)
      : ['*'];
  return { kind: isTypeOnly ? 'type' : 'value', names, specifier: moduleSpecifier };
}

/** A file started as a worker is loaded as surely as an imported one: `new URL('./worker.ts', import.meta.url)`. */
const isFileUrl = (node: ts.Node): node is ts.NewExpression =>
  ts.isNewExpression(node) &&
  node.expression.getText() === 'URL' &&
  node.arguments?.[1]?.getText() === 'import.meta.url';

function found(node: ts.Node): Found | null {
  if (ts.isImportDeclaration(node)) return fromImport(node);
  if (ts.isExportDeclaration(node)) return fromExport(node);
  if (ts.isImportTypeNode(node)) {
    const specifier = ts.isLiteralTypeNode(node.argument) ? node.argument.literal : node.argument;
    return { kind: 'type', names: [node.qualifier?.getText() ?? '*'], specifier };
  }
  if (ts.isImportEqualsDeclaration(node) && ts.isExternalModuleReference(node.moduleReference)) {
    return { kind: 'value', names: ['*'], specifier: node.moduleReference.expression };
  }
  if (isFileUrl(node)) return { kind: 'value', names: ['*'], specifier: node.arguments?.[0] };
  if (!ts.isCallExpression(node)) return null;
  const callee = node.expression;
  const loads =
    callee.kind === ts.SyntaxKind.ImportKeyword ||
    ['require', 'createRequire', 'import.meta.resolve'].includes(callee.getText());
  return loads ? { kind: 'value', names: ['*'], specifier: node.arguments[0] } : null;
}

/** A file is parsed once, however many trees it is checked in. */
const read = new WeakMap<SourceText, readonly Import[]>();

/** Everything a file imports, in whatever way. A computed import has the target `<computed>`: no rule allows it. */
export function importsOf(source: SourceText): readonly Import[] {
  const known = read.get(source);
  if (known) return known;
  const imports: Import[] = [];
  visitAll(parse(source), (node) => {
    const reached = found(node);
    if (!reached) return;
    const { kind, names, specifier } = reached;
    const name = specifier && ts.isStringLiteralLike(specifier) ? specifier.text : '<computed>';
    const isFile = /^\.{0,2}\//.test(name);
    const target = isFile ? posix.join(posix.dirname(source.path), name) : name;
    imports.push({ path: source.path, target, isFile, kind, names });
  });
  read.set(source, imports);
  return imports;
}
