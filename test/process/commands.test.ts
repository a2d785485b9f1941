import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataFolder, startProduct } from '../support/product-process.ts';
import { signInAt } from '../support/remote-caller.ts';

const ROOT = join(import.meta.dirname, '../..');
const { path: DATA_DIR, remove } = dataFolder();

beforeAll(async () => {
  const product = startProduct({ DATA_DIR });
  await signInAt(await product.url, { tenant: 'platform', email: 'operator@platform.example' });
  const member = await signInAt(await product.url);
  await member.send(await member.createConversation(), 'hello', { waitForCompletion: true });
  product.kill('SIGTERM');
  await product.exit;
});
afterAll(remove);

/** A command of `package.json`, on what the server left. */
function command(...args: readonly string[]) {
  const env = {
    PATH: process.env['PATH'] ?? '',
    DATA_DIR,
    NODE_COMPILE_CACHE: join(ROOT, 'node_modules/.cache/compiled'),
  };
  return new Promise<{ code: number; output: string; errors: string }>((resolve) => {
    const main = [join(ROOT, 'src/main.ts'), ...args];
    execFile(join(ROOT, 'node_modules/.bin/node'), main, { cwd: tmpdir(), env }, (error, output, errors) =>
      resolve({ code: Number(error?.code ?? 0), output, errors }),
    );
  });
}

describe('a command', () => {
  it('reads the trail of the platform, which no operation of the API can', async () => {
    const { code, output } = await command('read-audit', '--tenant', 'platform');
    const actions = output.trimEnd().split('\n').map((line) => (JSON.parse(line) as { action: string }).action); // prettier-ignore
    expect(code).toBe(0);
    expect(actions).toContain('session.signIn');
    expect(await command('verify-audit', '--tenant', 'platform')).toMatchObject({
      code: 0,
      output: `platform: ${actions.length} entries, as they were written.\n`,
    });
  });

  it('closes only hours that are over', async () => {
    expect(await command('reconcile-usage', '--tenant', 'acme')).toMatchObject({
      code: 0,
      output: 'acme: 0 hours and 0 days closed.\n',
    });
  });

  it.each(['verify-audit', 'read-audit', 'reconcile-usage'])(
    '%s fails for a tenant that is not there',
    async (name) => {
      const { code, output, errors } = await command(name, '--tenant', 'nobody');
      expect([code, output]).toEqual([1, '']);
      expect(errors).toMatch(/^There is no (trail of|tenant) nobody\.\n$/);
    },
  );
});
