import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actingIn, expectTenantNeeded } from '../support/refusals.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const SET = `mutation($url: String) { setUsageWebhook(url: $url) { secret settings { webhookUrl webhookSetAt } } }`;

describe('setUsageWebhook', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ config: { webhooksToLoopback: false } });
  });
  afterAll(() => world.stop());

  const set = async (caller: Caller, url: string | null) => (await caller.run(SET, { url })).data.setUsageWebhook;
  const urlOf = async (caller: Caller) =>
    (await caller.run('{ usageAlertSettings { webhookUrl } }')).data.usageAlertSettings.webhookUrl as string | null;

  it('sets the address for this tenant alone, with a secret of 256 bits that is another one each time', async () => {
    const first = await set(world.acme.admin, 'https://hooks.example/usage?a=b');
    expect(first).toMatchObject({ settings: { webhookUrl: 'https://hooks.example/usage?a=b' } });
    expect(first.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const second = await set(actingIn(world, 'acme'), 'https://hooks.example/usage?a=b');
    expect(second.secret).not.toBe(first.secret);
    expect(await urlOf(world.globex.admin)).toBeNull();
  });

  it('removes it with null', async () => {
    await set(world.acme.admin, 'https://hooks.example/');
    expect(await set(world.acme.admin, null)).toEqual({
      secret: null,
      settings: { webhookUrl: null, webhookSetAt: null },
    });
    expect(await urlOf(world.acme.admin)).toBeNull();
  });

  it('BAD_USER_INPUT for an address that nothing is ever sent to, and the old one stays', async () => {
    await set(world.acme.admin, 'https://hooks.example/');
    const long = `https://hooks.example/${'x'.repeat(2_048)}`;
    const wrong = [
      '',
      'hooks.example',
      'http://hooks.example/',
      'https://u:p@hooks.example/',
      'https://10.0.0.1/',
      long,
    ];
    for (const url of [...wrong, 'https://hooks.example:25/', 'https://[fd00:ec2::254]/', 'http://127.0.0.1:8080/']) {
      const { code, errors } = await world.acme.admin.run(SET, { url });
      expect([url, code, errors[0]?.extensions['field']]).toEqual([url, 'BAD_USER_INPUT', 'url']);
    }
    expect(await urlOf(world.acme.admin)).toBe('https://hooks.example/');
  });

  it('FORBIDDEN for a member; refused to everybody without a tenant', async () => {
    const url = 'https://hooks.example/';
    expect(await world.acme.member.run(SET, { url })).toMatchObject({ code: 'FORBIDDEN', status: 403 });
    await expectTenantNeeded(world, SET, { url });
  });
});
