import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readManifest } from '../../src/manifest/manifest.ts';
import { operationIdOf } from '../../src/partners/operation-id.ts';
import { startWorld, type World } from '../support/world.ts';

const ROOT = join(import.meta.dirname, '../..');
/** Written by GraphQL Code Generator's client preset from `shop.graphql`, with `persistedDocuments: { hashAlgorithm: 'sha256' }`. */
const MANIFEST = join(import.meta.dirname, 'fixtures/persisted-documents.json');

const folder = mkdtempSync(join(tmpdir(), 'partner-'));
let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(async () => {
  await world.stop();
  rmSync(folder, { recursive: true });
});

/** Runs a program of its own, with nothing in its environment but what it is given. */
const node = (args: readonly string[], env: Readonly<Record<string, string>>) =>
  new Promise<{ readonly code: number; readonly out: string; readonly err: string }>((resolve) => {
    execFile(
      process.execPath,
      [...args],
      { cwd: ROOT, env: { PATH: process.env['PATH'], ...env } },
      (error, out, err) => {
        resolve({ code: error ? Number(error.code ?? 1) : 0, out, err });
      },
    );
  });

const administrator = () => ({
  ...{ API_TENANT: 'acme', API_EMAIL: 'admin@acme.example', API_PASSWORD: world.config.demoPassword },
});
const publish = (manifest: string, env: Readonly<Record<string, string>> = administrator()) =>
  node(['src/manifest/publish.ts', '--manifest', manifest, '--url', world.url], env);

function file(name: string, content: object): string {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
}

describe('a partner, from zero', () => {
  it('an administrator publishes what the code generator wrote, as often as they like', async () => {
    const first = await publish(MANIFEST);
    expect([first.code, first.err]).toEqual([0, '']);
    expect(first.out).toMatch(/^new {8}1e45e30602f6 {2}ShopAgents\n/);
    expect(first.out).toContain('5 new, 0 unchanged.');
    const again = await publish(MANIFEST, { API_TOKEN: world.acme.admin.token! });
    expect(again.out).toContain('0 new, 5 unchanged.');
  });

  it('their program, with an API key and the manifest alone, asks, waits, sends and follows, and does nothing else', async () => {
    const { secret } = await world.createPartner(world.acme.admin, { name: 'Web shop', enforcement: 'ENFORCE' });
    const program = join(import.meta.dirname, 'fixtures/partner-program.ts');
    const { code, out, err } = await node([program], { URL: `${world.url}/graphql`, API_KEY: secret, MANIFEST });
    expect([code, err]).toEqual([0, '']);
    const saw = JSON.parse(out);
    expect(saw).toMatchObject({
      ...{ agents: ['support', 'analyst'], owner: 'Web shop' },
      asked: { status: 'COMPLETED', citations: [{ title: 'Acme refund policy' }], error: null },
      end: { status: 'COMPLETED', content: saw.text },
      refused: ['PERSISTED_OPERATION_REQUIRED', 'PERSISTED_OPERATION_NOT_FOUND'],
    });
    expect(saw.sequences).toEqual(saw.sequences.map((_sequence: number, index: number) => index + 1));
  });

  it('what the schema does not know is refused by its name, and nothing of the manifest is published', async () => {
    const [good, bad] = ['query Fine { agents { id } }', 'query Stale { agents { colour } }'];
    const manifest = { [`sha256:${operationIdOf(good)}`]: good, [`sha256:${operationIdOf(bad)}`]: bad };
    const { code, err } = await publish(file('stale.json', manifest));
    expect(code).toBe(1);
    expect(err).toMatch(/^BAD_USER_INPUT: Nothing was published:\n- Stale: Cannot query field "colour"/);
    expect(err).not.toContain(' at '); // no stack
    const { data } = await world.acme.admin.run('{ persistedOperations { name } }');
    expect(JSON.stringify(data)).not.toContain('Fine');
  });

  it('a manifest of another kind is refused before anything is sent: SHA-1, altered bodies, no manifest at all', () => {
    const body = 'query Fine { agents { id } }';
    const cases: [object, string][] = [
      [{ ['a'.repeat(40)]: body }, "Fine: its id is a SHA-1; set persistedDocuments: { hashAlgorithm: 'sha256' }"],
      [{ [`sha256:${operationIdOf(body)}`]: `${body} ` }, 'Fine: its id is not the SHA-256 of its body'],
      [{ [`sha256:${operationIdOf(body)}`]: 7 }, 'it is no document'],
      [[body], 'it must be an object of operations by their ids'],
    ];
    for (const [index, [content, said]] of cases.entries())
      expect(() => readManifest(file(`wrong-${index}.json`, content))).toThrow(said);
    expect(readManifest(file('bare.json', { [operationIdOf(body)]: body }))).toEqual(
      new Map([[operationIdOf(body), body]]),
    );
  });
});

describe('a change of the schema', () => {
  it('that breaks what is published fails `schema:check`, with the operation’s name; what is published is exported for it', async () => {
    const out = join(folder, 'exported.json');
    const exported = await node(['src/manifest/export.ts', '--url', world.url, '--out', out], administrator());
    expect([exported.code, exported.err]).toEqual([0, '']);
    const manifest = JSON.parse(readFileSync(out, 'utf8')) as Record<string, string>;
    expect(Object.values(manifest)).toEqual(expect.arrayContaining([...readManifest(MANIFEST).values()]));
    const body = 'query Renamed { agents { id nickname } }';
    const broken = file('broken.json', { [`sha256:${operationIdOf(body)}`]: body });
    const check = await node(['src/manifest/check.ts', '--manifest', out, '--manifest', broken], {});
    expect(check.code).toBe(1);
    expect(check.err).toBe(
      `The schema breaks what partners have published:\n- Renamed (${operationIdOf(body).slice(0, 12)}): Cannot query field "nickname" on type "Agent". Did you mean "name"?\n`,
    );
  });
});
