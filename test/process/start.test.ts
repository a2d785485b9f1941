import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { rawHttp } from '../support/raw-http.ts';
import { dataFolder, startProduct, type ProductProcess } from '../support/product-process.ts';
import { signInAt } from '../support/remote-caller.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function folder(): string {
  const { path, remove } = dataFolder();
  cleanups.push(remove);
  return path;
}

function run(settings: Readonly<Record<string, string>>): ProductProcess {
  const product = startProduct(settings);
  cleanups.push(() => product.destroy());
  return product;
}

async function stop(product: ProductProcess) {
  product.kill('SIGTERM');
  expect(await product.exit).toEqual({ code: 0, signal: null });
}

const USERS = [
  { tenant: 'acme', email: 'admin@acme.example' },
  { tenant: 'acme', email: 'member@acme.example' },
  { tenant: 'globex', email: 'admin@globex.example' },
  { tenant: 'globex', email: 'member@globex.example' },
  { tenant: 'platform', email: 'operator@platform.example' },
];

describe('npm start', () => {
  it('serves on an address it prints, with the explorer and a sign-in to copy that works', async () => {
    const product = run({ DATA_DIR: folder() });
    const url = await product.url;
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(await rawHttp(url).get('/readyz')).toMatchObject({ status: 200 });
    // Everything of the welcome follows the line that says where it listens.
    await expect.poll(() => product.output()).toMatch(/curl .*\n/);
    const output = product.output();
    expect(output).toContain(`${url}/graphql`);
    expect(output).toContain(`${url}/explorer`);
    const [, body = ''] = /curl .* -d '(.+)'/.exec(output) ?? [];
    const answer = await rawHttp(url).send({ body });
    expect(answer.body.data.signIn.viewer.tenant.name).toBe('Acme Corporation');
    await stop(product);
    expect(product.errors()).toBe('');
  });

  it('answers a conversation in both tenants', async () => {
    const product = run({ DATA_DIR: folder(), EMULATOR_CHUNKS_PER_SECOND: '100000' });
    const url = await product.url;
    for (const tenant of ['acme', 'globex']) {
      const member = await signInAt(url, { tenant, email: `member@${tenant}.example` });
      const conversationId = await member.createConversation();
      const { assistantMessage } = await member.send(conversationId, 'hello', { waitForCompletion: true });
      expect(assistantMessage).toMatchObject({ status: 'COMPLETED' });
    }
    await stop(product);
  });

  it('a second start on the same folder seeds nothing again, and keeps users, tenants, tokens and conversations', async () => {
    const DATA_DIR = folder();
    const describeAll = async (url: string) => {
      const callers = await Promise.all(USERS.map((user) => signInAt(url, user)));
      const operator = callers.at(-1)!;
      const tenants = await Promise.all(
        callers
          .slice(0, 4)
          .map((caller) => caller.run('{ viewer { id name roles } tenant { id createdAt updatedAt } }')),
      );
      return { ids: callers.map(({ id }) => id), tenants, token: operator.token, member: callers[1]! };
    };
    const first = run({ DATA_DIR });
    const before = await describeAll(await first.url);
    const conversationId = await before.member.createConversation('Kept');
    await stop(first);

    const second = run({ DATA_DIR });
    const url = await second.url;
    const after = await describeAll(url);
    expect(after.ids).toEqual(before.ids);
    expect(after.tenants).toEqual(before.tenants);
    const kept = await rawHttp(url).post(
      'query($id: ID!) { conversation(id: $id) { title owner { id } } }',
      { id: conversationId },
      { authorization: `Bearer ${before.member.token}` }, // signed before the restart
    );
    expect(kept.body.data.conversation).toEqual({ title: 'Kept', owner: { id: before.member.id } });
    await stop(second);
  });

  it('its secrets are readable by their owner alone', async () => {
    const DATA_DIR = folder();
    const product = run({ DATA_DIR });
    await product.url;
    expect(statSync(join(DATA_DIR, 'secrets.json')).mode & 0o077).toBe(0);
  });
});

describe('a second process on the same folder', () => {
  it('is told so, with the folder and the process that has it, and the first one is unharmed', async () => {
    const DATA_DIR = folder();
    const first = run({ DATA_DIR });
    const url = await first.url;
    const member = await signInAt(url);
    const conversationId = await member.createConversation('Unharmed');

    const second = run({ DATA_DIR });
    expect((await second.exit).code).toBe(1);
    expect(second.errors()).toContain(DATA_DIR);
    expect(second.errors()).toContain(`pid ${first.pid}`);
    expect(second.errors().trim().split('\n')).toHaveLength(1);
    expect(second.errors()).not.toMatch(/\s+at .*\.[jt]s/);

    const found = await member.run('query($id: ID!) { conversation(id: $id) { title } }', { id: conversationId });
    expect(found.conversation.title).toBe('Unharmed');
    await stop(first);
  });

  it('and one on the same port says that, and gives its folder up', async () => {
    const first = run({ DATA_DIR: folder() });
    const { port } = new URL(await first.url);
    const DATA_DIR = folder();
    const second = run({ DATA_DIR, PORT: port });
    expect((await second.exit).code).toBe(1);
    expect(second.errors()).toMatch(/^PORT: .*in use/);
    const third = run({ DATA_DIR });
    expect(await rawHttp(await third.url).get('/livez')).toMatchObject({ status: 200 });
  });
});

it('a port of metrics that another process has is named, and its setting', async () => {
  const first = run({ DATA_DIR: folder() });
  await first.url;
  const adminUrl = String(first.log().find(({ msg }) => msg === 'listening')?.['adminUrl']);
  expect(await rawHttp(adminUrl).get('/readyz')).toMatchObject({ status: 200 });
  const { port } = new URL(adminUrl);
  const second = run({ DATA_DIR: folder(), ADMIN_PORT: port });
  expect((await second.exit).code).toBe(1);
  expect(second.errors()).toMatch(new RegExp(`^ADMIN_PORT: .*${port}.*in use`));
  expect(second.errors().trim().split('\n')).toHaveLength(1);
  expect(second.output()).not.toContain('listening');
});

describe('settings that are refused', () => {
  const refusal = async (settings: Readonly<Record<string, string>>) => {
    const product = run({ DATA_DIR: folder(), ...settings });
    expect((await product.exit).code).toBe(1);
    expect(product.output()).toBe('');
    expect(product.errors()).not.toMatch(/\n\s+at /);
    return product.errors();
  };

  it('the embedded stack in production, by both its parts and how to mend it', async () => {
    const message = await refusal({ NODE_ENV: 'production' });
    expect(message).toMatch(/STORAGE.*production/);
    expect(message).toMatch(/BEDROCK.*production/);
  });

  it('several faults of form, all together', async () => {
    const message = await refusal({ PORT: 'abc', LOG_LEVEL: 'loud', EXPLORER: 'yes', SHUTDOWN_GRACE_MS: '-1' });
    for (const name of ['PORT', 'LOG_LEVEL', 'EXPLORER', 'SHUTDOWN_GRACE_MS']) expect(message).toContain(name);
  });

  it('faults of form together with faults between settings', async () => {
    const message = await refusal({ PORT: 'abc', NODE_ENV: 'production' });
    expect(message).toContain('PORT');
    expect(message).toContain('STORAGE');
    expect(message).toContain('BEDROCK');
  });

  it('what the real services need, all together, and no value of a secret', async () => {
    const message = await refusal({
      STORAGE: 'dynamodb',
      BEDROCK: 'aws',
      JWT_SIGNING_KEY: 'my-secret-key',
      NODE_ENV: 'production',
    });
    for (const name of ['AGENTS_FILE', 'CURSOR_SECRET', 'JWT_SIGNING_KEY']) expect(message).toContain(name);
    expect(message).not.toContain('my-secret-key');
  });

  it.each(['0.0.0.0', '::', '192.0.2.1', 'example.com', '127.evil.example'])(
    'the default password of the demo while listening on %s',
    async (HOST) => {
      expect(await refusal({ HOST })).toContain('DEMO_PASSWORD');
    },
  );

  it('but a password of its own may be used there, and is not printed', async () => {
    const product = run({ DATA_DIR: folder(), HOST: '0.0.0.0', DEMO_PASSWORD: 'a-password-of-my-own' });
    const { port } = new URL(await product.url);
    const member = await signInAt(`http://127.0.0.1:${port}`, { password: 'a-password-of-my-own' });
    await member.createConversation();
    await stop(product);
    expect(product.output() + product.errors()).not.toContain('a-password-of-my-own');
  });
});
