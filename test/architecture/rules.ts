import { basename, dirname, matchesGlob } from 'node:path/posix';
import ts from 'typescript';
import { importsOf, parse, visitAll, type Import, type SourceText } from './sources.ts';
import {
  EMPTY_NAMES,
  ENVIRONMENT_READERS,
  EXCEPTIONS,
  LINES_MAX,
  OTHER_PLACES,
  PLACES,
  TEST_LINES_MAX,
} from './table.ts';

const CODE = /^(src|resolvers|directives)\//;
const isGenerated = (path: string): boolean => path.includes('.generated.');

const fits = (name: string, patterns: readonly string[]): boolean =>
  patterns.some((pattern) => pattern === '**' || matchesGlob(name, pattern));

const placeOf = (path: string) => PLACES.find(({ files }) => fits(path, files)) ?? null;

const isExcepted = ({ path, target, kind, names }: Import): boolean =>
  EXCEPTIONS.some(
    (exception) =>
      exception.from === path &&
      exception.to === target &&
      exception.kind === kind &&
      names.every((name) => exception.names.includes(name)),
  );

function isAllowed(imported: Import): boolean {
  const place = placeOf(imported.path);
  if (!place) return true; // a fault of its own
  const { target, kind } = imported;
  return fits(target, place.values) || (kind === 'type' && fits(target, place.types)) || isExcepted(imported);
}

export const forbiddenImports = (imports: readonly Import[]): string[] =>
  imports
    .filter((imported) => CODE.test(imported.path) && !isAllowed(imported))
    .map(({ path, kind, names, target }) => `${path} may not import the ${kind} {${names.join(', ')}} of ${target}`);

/** Exceptions that nothing needs any more. */
export const unusedExceptions = (imports: readonly Import[]): string[] =>
  EXCEPTIONS.flatMap(({ from, to, names }) => {
    const used = imports.filter(({ path, target }) => path === from && target === to).flatMap((found) => found.names);
    return names.filter((name) => !used.includes(name)).map((name) => `${from} no longer takes ${name} from ${to}`);
  });

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

function graphOf(edges: readonly (readonly [string, string])[]): Graph {
  const graph = new Map<string, Set<string>>();
  for (const [from, to] of edges) graph.set(from, (graph.get(from) ?? new Set()).add(to));
  return graph;
}

/** The shortest way from a node back to itself; null if there is none. */
function wayBack(graph: Graph, start: string): string[] | null {
  const ways = [[start]];
  const seen = new Set<string>();
  for (let way = ways.shift(); way; way = ways.shift()) {
    for (const next of graph.get(way.at(-1) ?? '') ?? []) {
      if (next === start) return [...way, start];
      if (!seen.has(next)) ways.push([...way, next]);
      seen.add(next);
    }
  }
  return null;
}

/** Every cycle is told once, from its first node. */
const cyclesOf = (graph: Graph): string[] =>
  [...graph.keys()].flatMap((node) => {
    const cycle = wayBack(graph, node);
    return cycle && cycle.every((other) => node <= other) ? [cycle.join(' → ')] : [];
  });

/** Files that need each other in order to load. */
export const importCycles = (imports: readonly Import[]): string[] =>
  cyclesOf(
    graphOf(imports.filter(({ kind, isFile }) => kind === 'value' && isFile).map(({ path, target }) => [path, target])),
  );

/** `src/conversations/model.ts` → `src/conversations`; an adapter is a folder of its own, everything else counts by its second name. */
function folderOf(path: string): string {
  const [top = '', second = '', third = ''] = dirname(path).split('/');
  if (top !== 'src') return top;
  if (second === '') return path; // main.ts, config.ts and context.ts stand for themselves
  return second === 'adapters' ? `src/adapters/${third}` : `src/${second}`;
}

/** Folders that know each other, if only by type. */
export const folderCycles = (imports: readonly Import[]): string[] =>
  cyclesOf(
    graphOf(
      imports
        .filter(({ path, isFile }) => isFile && CODE.test(path))
        .map(({ path, target }) => [folderOf(path), folderOf(target)] as const)
        .filter(([from, to]) => from !== to),
    ),
  );

export const filesWithoutPlace = (sources: readonly SourceText[]): string[] =>
  sources
    .map(({ path }) => path)
    .filter((path) => !(path.endsWith('.ts') && placeOf(path)) && !fits(path, OTHER_PLACES))
    .map((path) => `${path} is in no known place`);

const lineCount = (text: string): number => text.replace(/\n$/, '').split('\n').length;

export const oversizedFiles = (sources: readonly SourceText[]): string[] =>
  sources
    .filter(({ path }) => !isGenerated(path))
    .map(({ path, text }) => ({
      path,
      lines: lineCount(text),
      max: path.startsWith('test/') ? TEST_LINES_MAX : LINES_MAX,
    }))
    .filter(({ lines, max }) => lines > max)
    .map(({ path, lines, max }) => `${path} has ${lines} lines, more than ${max}`);

/** Every part of a path counts, and in `session-manager.ts` every word. */
export const emptyNames = (sources: readonly SourceText[]): string[] =>
  sources
    .map(({ path }) => path)
    .filter((path) => path.split(/[/.-]/).some((word) => EMPTY_NAMES.includes(word.toLowerCase())))
    .map((path) => `${basename(path)} says nothing of what is in it (${path})`);

const NODE_PROCESS = ['process', 'node:process'];
const isProcess = (node: ts.Node): boolean => /^(globalThis\.|global\.)?process$/.test(node.getText());

/** `process.env`, `process['env']`, `const { env } = process`, `import { env } from 'node:process'`, `process[name]`. */
function readsEnvironment(node: ts.Node): boolean {
  if (ts.isPropertyAccessExpression(node)) return isProcess(node.expression) && node.name.text === 'env';
  if (ts.isElementAccessExpression(node)) return isProcess(node.expression);
  if (ts.isVariableDeclaration(node)) {
    return !!node.initializer && isProcess(node.initializer) && /\benv\b|\.\.\./.test(node.name.getText());
  }
  return false;
}

const readers = new WeakMap<SourceText, boolean>();

function isReader(source: SourceText): boolean {
  let reads = readers.get(source) ?? false;
  if (!readers.has(source)) visitAll(parse(source), (node) => (reads ||= readsEnvironment(node)));
  readers.set(source, reads);
  return reads;
}

export function environmentReaders(sources: readonly SourceText[], imports: readonly Import[]): string[] {
  const found = sources.filter((source) => CODE.test(source.path) && isReader(source)).map(({ path }) => path);
  const importers = imports
    .filter(({ path, target }) => CODE.test(path) && NODE_PROCESS.includes(target))
    .map(({ path }) => path);
  return [...new Set([...found, ...importers])]
    .filter((path) => !ENVIRONMENT_READERS.includes(path))
    .map((path) => `${path} reads the environment`);
}

/** Everything in which a tree breaks the house rules. */
export function faultsOf(sources: readonly SourceText[]): string[] {
  const imports = sources
    .filter(({ path }) => path.endsWith('.ts') && (CODE.test(path) || !path.includes('/')))
    .flatMap(importsOf);
  return [
    ...forbiddenImports(imports),
    ...importCycles(imports),
    ...folderCycles(imports),
    ...filesWithoutPlace(sources),
    ...oversizedFiles(sources),
    ...emptyNames(sources),
    ...environmentReaders(sources, imports),
  ];
}
