import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLIENT_OUTPUT } from '../../src/manifest/client-output.ts';
import { readManifest } from '../../src/manifest/manifest.ts';
import { startWorld, type World } from '../support/world.ts';

const ROOT = join(import.meta.dirname, '../..');
const SHOP = join(ROOT, 'test/process/fixtures/shop.graphql');

let folder: string;
let out: string;
let world: World;
let generated: Awaited<ReturnType<typeof node>>;
beforeAll(async () => {
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  folder = mkdtempSync(join(ROOT, '.cache/generated-client-')); // where imports find node_modules
  out = join(folder, 'gql');
  [world, generated] = await Promise.all([startWorld(), generate(SHOP, out)]);
});
afterAll(async () => {
  await world.stop();
  rmSync(folder, { recursive: true });
});

/** A command of `package.json`, as npm runs it. */
const node = (script: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  new Promise<{ readonly code: number; readonly out: string; readonly err: string }>((resolve) => {
    const settings = { cwd: ROOT, env: { PATH: process.env['PATH'], NO_COLOR: '1', ...env } };
    execFile(process.execPath, [join(ROOT, 'src/manifest', script), ...args], settings, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, out: stdout, err: stderr }),
    );
  });
const generate = (documents: string, to: string) => node('generate.ts', ['--documents', documents, '--out', to]);

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe('client:generate', () => {
  it('writes documents that say their ids, and the manifest that `operations:publish` takes: a key runs them by these', async () => {
    expect(generated).toMatchObject({ code: 0, err: '' });
    const { ShopAgentsDocument: document } = await import(join(out, 'graphql.ts'));
    const manifest = join(out, 'persisted-documents.json');
    expect([...readManifest(manifest).keys()].map((id) => `sha256:${id}`)).toContain(document.__meta__.hash);

    const args = ['--manifest', manifest, '--url', world.url];
    const published = await node('publish.ts', args, { API_TOKEN: world.acme.admin.token! });
    expect(published).toMatchObject({ code: 0, out: expect.stringContaining('5 new, 0 unchanged.') });
    const partner = await world.createPartner(world.acme.admin, { enforcement: 'ENFORCE' });
    const response = await fetch(`${world.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...partner.headers },
      body: JSON.stringify({ documentId: document.__meta__.hash }),
    });
    expect(await response.json()).toMatchObject({ data: { agents: [{ id: 'support' }, { id: 'analyst' }] } });
  });

  it('writes types that know what an operation takes and what it returns', () => {
    const program = file(
      'program.ts',
      `import { ShopAskDocument as Ask } from './gql/graphql.ts';
      import type { ResultOf, VariablesOf } from '@graphql-typed-document-node/core';
      declare const result: ResultOf<typeof Ask>;
      export const right: VariablesOf<typeof Ask> = { conversationId: 'c', content: 'What?' };
      export const content: string = result.sendMessage.assistantMessage.content;
      export const title: string | null = result.sendMessage.assistantMessage.citations[0]!.title;
      export const incomplete: VariablesOf<typeof Ask> = { conversationId: 'c' };
      export const never: number = result.sendMessage.assistantMessage.content;
      export const unasked = result.sendMessage.assistantMessage.createdAt;\n`,
    );
    const checked = ts.createProgram([program], {
      ...{ strict: true, noEmit: true, skipLibCheck: true, types: [], lib: ['lib.es2024.d.ts'] },
      ...{ module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2024, allowImportingTsExtensions: true },
    });
    const faults = ts.getPreEmitDiagnostics(checked).map(({ file, start, code }) => {
      const { line } = file!.getLineAndCharacterOfPosition(start!);
      return [file!.fileName.endsWith('program.ts'), line + 1, code];
    });
    expect(faults).toEqual([
      [true, 7, 2741], // `content` is missing
      [true, 8, 2322], // a string is no number
      [true, 9, 2339], // there is no such field
    ]);
  });

  it('says which document asks for what there is not, and writes nothing', async () => {
    const wrong = join(folder, 'wrong');
    const { code, err } = await generate(file('stale.graphql', 'query Stale { agents { colour } }'), wrong);
    expect(code).toBe(1);
    expect(err).toContain('Cannot query field "colour" on type "Agent"');
    expect(err).toContain('stale.graphql:1:');
    expect(() => readManifest(join(wrong, 'persisted-documents.json'))).toThrow('ENOENT');
  });

  it('does what the settings for other builds do, which the page shows', async () => {
    const page = readFileSync(join(ROOT, 'docs/frontend.md'), 'utf8');
    const [, settings] = /^```ts\n\/\/ codegen\.ts\n(.*?)^```$/ms.exec(page)!;
    const { default: config } = await import(file('codegen.ts', settings!));
    expect(config.generates).toEqual({ 'src/gql/': CLIENT_OUTPUT });
  });
});
