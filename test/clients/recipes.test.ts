import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { startWorld, type World } from '../support/world.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const RECIPES = ['apollo', 'urql', 'relay'].map((name) => `docs/recipes/${name}.md`);
const PAGES = ['docs/streaming.md', 'docs/frontend.md', ...RECIPES];
/** An answer of more than a hundred events, in a second or so. */
const LONG = '[[emulate chunks=150 delayMs=4]] What about refunds?';

/** Every block that is a module: where they import each other by these names, they do so here. */
const modules = PAGES.flatMap((page) => [...read(page).matchAll(/^```ts\n\/\/ ([\w-]+)\.ts\n(.*?)^```$/gms)]);
// What they export is what their readers find.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
const recipe: Record<string, any> = {};
let folder: string;
let world: World;
const proxies: TcpProxy[] = [];

beforeAll(async () => {
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  folder = mkdtempSync(join(ROOT, '.cache/recipes-')); // where imports find node_modules
  for (const [, name, code] of modules) writeFileSync(join(folder, `${name}.ts`), code!);
  compileRelay();
  for (const name of ['session', 'urql', 'apollo-app', 'urql-app', 'relay-app'])
    recipe[name] = await import(join(folder, `${name}.ts`));
  // Tokens that are never good for another minute: whoever asks for one renews the session.
  const jwt = {
    ...{ issuer: 'test', audience: 'test', accessTtlMs: 50_000, refreshTtlMs: 86_400_000, verificationKeys: [] },
  };
  world = await startWorld({ config: { jwt } });
});
afterAll(async () => {
  await Promise.all(proxies.map((proxy) => proxy.close()));
  await world.stop();
  rmSync(folder, { recursive: true });
});

/** As the page says: its settings, and the binary that the package has for this machine. */
function compileRelay(): void {
  writeFileSync(join(folder, 'relay.config.json'), /^```json\n(.*?)^```$/ms.exec(read('docs/recipes/relay.md'))![1]!);
  copyFileSync(join(ROOT, 'schema.graphql'), join(folder, 'schema.graphql'));
  mkdirSync(join(folder, '__generated__'));
  execFileSync(process.execPath, [join(ROOT, 'node_modules/relay-compiler/cli.js')], { cwd: folder, stdio: 'pipe' });
}

const member = () => ({ tenant: 'acme', email: 'member@acme.example', password: world.config.demoPassword });

async function startProxy() {
  const proxy = await startTcpProxy(world.url);
  proxies.push(proxy);
  return proxy;
}

describe.each(['apollo-app', 'urql-app', 'relay-app'])('%s', (name) => {
  it('signs in, starts, sends, and shows the whole answer though the connection is cut, with tokens renewed on the way', async () => {
    const proxy = await startProxy();
    const shown: string[] = [];
    const show = (text: string) => {
      if ([20, 60].includes(shown.push(text))) proxy.cut();
    };
    const app = await recipe[name].app(`${proxy.url}/graphql`, member(), show);
    const id = await app.start(`With ${name}`);
    const answer = await app.ask(id, LONG);
    expect(answer).toMatchObject({ status: 'COMPLETED', error: null });
    expect(shown.at(-1)).toBe(answer.content);
    expect(shown.length).toBeGreaterThan(100);
    expect(shown.at(-2)).toBe(answer.content); // written together from what came: nothing was lost, and nothing came twice
    expect(proxy.connections()).toBeGreaterThan(4);

    const { nodes, pageInfo } = await app.recent();
    expect(nodes[0]).toMatchObject({ id, title: `With ${name}`, lastMessage: { content: answer.content } });
    expect(pageInfo.hasNextPage).toBe(false);
    await expect(app.recent('no cursor')).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    app.stop();
  });

  it('says so where the password is wrong', async () => {
    const wrong = { ...member(), password: 'something else entirely' };
    const opened = recipe[name].app(`${world.url}/graphql`, wrong, () => {});
    await expect(opened).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });
});

describe('session.ts', () => {
  it('renews once for all who ask at a time, and says when the session is over', async () => {
    const accessToken = await recipe['session'].signIn(`${world.url}/graphql`, member());
    const [first, ...others] = await Promise.all([accessToken(), accessToken(), accessToken()]);
    expect(others).toEqual([first, first]);
    const next = await accessToken();
    expect(next).not.toBe(first);

    const stopped = await startProxy();
    const url = `${stopped.url}/graphql`;
    const stolen = await recipe['session'].signIn(url, member());
    stopped.loseNextAnswer(); // the token was used, and nobody has the next one
    await expect(stolen()).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    await expect(stolen()).rejects.toMatchObject({ code: 'SIGNED_OUT' });
  });
});

it('urql: two readers of one client with the same place both see every event', async () => {
  const app = await recipe['urql-app'].app(`${world.url}/graphql`, member(), () => {});
  const id = await app.start('Two readers');
  const { id: messageId, content } = await app.ask(id, 'And then?');
  const client = recipe['urql'].urqlClient(`${world.url}/graphql`, () => Promise.resolve(world.acme.member.token));
  const follow = (onEvent: (event: { readonly sequence: number }) => void) =>
    recipe['urql'].followAnswer(client, messageId, onEvent) as Promise<{ readonly content: string }>;
  const [early, late]: [number[], number[]] = [[], []];
  let second: ReturnType<typeof follow> | undefined;
  const first = await follow(({ sequence }) => {
    early.push(sequence);
    if (sequence === 2) second = follow((event) => late.push(event.sequence));
  });
  expect([first.content, (await second)?.content]).toEqual([content, content]);
  expect(early.length).toBeGreaterThan(2);
  expect(early).toEqual(early.map((_sequence, index) => index + 1));
  expect(late).toEqual(early);
});

it('relay: pages join into one list, which shows what is started and answered without being asked for again', async () => {
  const app = await recipe['relay-app'].app(`${world.url}/graphql`, member(), () => {});
  const older = await app.start('Older');
  const newer = await app.start('Newer');
  const ids = ({ nodes }: { readonly nodes: readonly { readonly id: string }[] }) => nodes.map(({ id }) => id);
  const first = await app.recent(undefined, 1);
  expect(ids(first)).toEqual([newer]);
  expect(first.pageInfo.hasNextPage).toBe(true);
  expect(ids(await app.recent(first.pageInfo.endCursor, 1))).toEqual([newer, older]);

  let seen = first;
  const unwatch = app.watch((recent: typeof first) => (seen = recent));
  const newest = await app.start('Newest');
  expect(ids(seen)).toEqual([newest, newer, older]);
  const { content } = await app.ask(newest, 'And now?');
  expect(seen.nodes[0]).toMatchObject({ id: newest, lastMessage: { status: 'COMPLETED', content } });
  unwatch();
  app.stop();
});

const runs = (...[command, ...args]: [string, ...string[]]) => spawnSync(command, args).status === 0;
const hasCurl = runs('bash', '--version') && runs('curl', '--version');

describe.skipIf(!hasCurl)('docs/recipes/curl.md (needs bash and curl)', () => {
  /** A block, and what the page says it prints. */
  const blocks = [...read('docs/recipes/curl.md').matchAll(/^```sh\n(.*?)^```\n(?:\n```\w*\n(.*?)^```$)?/gms)];

  /** Without what differs from one run to the next: the ids, what it cost, and into how many pieces a text falls. */
  const comparable = (text: string) =>
    text
      .trim()
      .replace(/,"extensions":\{"cost":.*/, '}')
      .replace(/(conv|msg)-\w+/g, '$1-…')
      .replace(/"sequence":\d+/g, '"sequence":…')
      .replace(/"text":"[^"]*"/g, '"text":"…"')
      .replace(/(event: next\ndata: .*"MessageDelta".*\n\n)\1+/g, '$1')
      .replace(/^:\n\n/gm, '');

  it('prints what the page says, block by block', async () => {
    const script = blocks.map(([, code]) => `${code}\necho '=== end of a block'\n`).join('');
    const local = script
      .replaceAll('http://127.0.0.1:4000', world.url)
      .replaceAll('demo-demo-demo', world.config.demoPassword);
    const { stdout, stderr } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', local]);
    expect(stderr).toBe('');
    const printed = stdout.split('=== end of a block\n').slice(0, -1);
    expect(printed.map(comparable)).toEqual(blocks.map(([, , said = '']) => comparable(said)));
  });
});

const { GQL_PYTHON } = process.env;

describe.skipIf(GQL_PYTHON === undefined)('docs/recipes/python.md (needs GQL_PYTHON, a Python with gql)', () => {
  it('prints what the page says, and the whole of an answer though the connection is cut, with tokens renewed on the way', async () => {
    const page = read('docs/recipes/python.md');
    for (const [, name, code] of page.matchAll(/^```python\n# (\w+)\.py\n(.*?)^```$/gms))
      writeFileSync(join(folder, `${name}.py`), code!);
    const chat = async (api: string, more = {}) => {
      const env = { PATH: process.env['PATH'], API: `${api}/graphql`, PASSWORD: world.config.demoPassword, ...more };
      return promisify(execFile)(GQL_PYTHON!, [join(folder, 'main.py')], { env });
    };
    const proxy = await startProxy();
    // Each request has a connection of its own, and the renewal before it: the ninth is the first that follows.
    proxy.cutAfter(...Array<number>(8).fill(Infinity), 4_000, Infinity, 4_000);
    const [plain, cut] = await Promise.all([chat(world.url), chat(proxy.url, { QUESTION: LONG })]);
    expect(plain.stdout).toBe(/^```text\n(.*?)^```$/ms.exec(page)![1]);
    expect(cut.stdout).toMatch(/\nCOMPLETED True\n.+\nNOT_FOUND\n$/s);
    expect(proxy.connections()).toBe(15); // three times to follow to the end, and once what there is not
  });
});
