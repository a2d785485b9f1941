import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestClock, type TestClock } from '../support/clock.ts';
import { startWorld, type World } from '../support/world.ts';

const SIGN_IN = `mutation($input: SignInInput!) { signIn(input: $input) {
  accessToken accessTokenExpiresAt refreshToken viewer { id name email roles tenant { id } }
} }`;

describe('signIn', () => {
  let clock: TestClock;
  let world: World;
  beforeAll(async () => {
    clock = createTestClock();
    world = await startWorld({ clock });
  });
  afterAll(() => world.stop());

  const signIn = (input: { tenant?: string; email?: string; password?: string } = {}) =>
    world.nobody.run(SIGN_IN, {
      input: { tenant: 'acme', email: 'member@acme.example', password: world.config.demoPassword, ...input },
    });

  it('ok: a token that works at once and says when it ends, and who signed in', async () => {
    const { data } = await signIn();
    expect(data.signIn).toMatchObject({
      accessTokenExpiresAt: new Date(clock.now() + 900_000).toISOString(),
      viewer: { id: world.acme.member.id, email: 'member@acme.example', roles: ['MEMBER'], tenant: { id: 'acme' } },
    });
    const viewer = await world.caller(data.signIn.accessToken).run('{ viewer { id } }');
    expect(viewer.data.viewer.id).toBe(world.acme.member.id);
  });

  it('ok: letter case and surrounding space of the e-mail address do not matter', async () => {
    const { data } = await signIn({ email: '  MEMBER@Acme.Example ' });
    expect(data.signIn.viewer.id).toBe(world.acme.member.id);
  });

  it('ok: an operator signs in at the platform and has no tenant', async () => {
    const { data } = await signIn({ tenant: 'platform', email: 'operator@platform.example' });
    expect(data.signIn.viewer).toMatchObject({ roles: ['PLATFORM_OPERATOR'], tenant: null });
  });

  it('ok: every sign-in is a session of its own', async () => {
    const [one, other] = await Promise.all([signIn(), signIn()]);
    expect(one.data.signIn.refreshToken).not.toBe(other.data.signIn.refreshToken);
    expect(one.data.signIn.accessToken).not.toBe(other.data.signIn.accessToken);
  });

  it('RATE_LIMITED after ten wrong passwords, with the time to wait, also as the header says it', async () => {
    const email = 'admin@globex.example';
    const wrong = () => signIn({ tenant: 'globex', email, password: 'a guess' });
    for (let n = 0; n < 10; n++) expect((await wrong()).code).toBe('UNAUTHENTICATED');
    const { status, errors, headers } = await signIn({ tenant: 'globex', email });
    const { code, retryAfterMs } = errors[0]!.extensions;
    expect([status, code]).toEqual([429, 'RATE_LIMITED']);
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(Number(headers.get('retry-after'))).toBe(Math.ceil(Number(retryAfterMs) / 1000));
    // What a client says of its address is believed of trusted proxies alone.
    const input = { tenant: 'globex', email, password: world.config.demoPassword };
    const disguised = await world.nobody.with({ 'x-forwarded-for': '203.0.113.7' }).run(SIGN_IN, { input });
    expect(disguised.code).toBe('RATE_LIMITED');
  });

  it('UNAUTHENTICATED, with as many reads of the store whoever is asked for', async () => {
    const reads = async (input: Parameters<typeof signIn>[0]) => {
      await signIn(input); // whether there is such a tenant is remembered
      const sent = await world.requestsOf(() => signIn(input));
      return sent.filter(({ operation, phase }) => operation === 'GetItemCommand' && phase === 'sent').length;
    };
    const wrong = { password: 'wrong' };
    for (const input of [
      wrong,
      { tenant: 'hooli', ...wrong },
      { tenant: '#', ...wrong },
      { email: 'nobody', ...wrong },
    ])
      expect(await reads(input)).toBe(2);
  });

  it('UNAUTHENTICATED, in the same words, for an unknown tenant, an unknown user and a wrong password', async () => {
    const refusals = await Promise.all([
      signIn({ tenant: 'hooli' }),
      signIn({ tenant: 'ACME' }),
      signIn({ tenant: 'acme#' }),
      signIn({ tenant: '' }),
      signIn({ email: 'nobody@acme.example' }),
      signIn({ email: 'member@globex.example' }),
      signIn({ email: '' }),
      signIn({ email: '#'.repeat(10_000) }),
      signIn({ email: '\ud800' }),
      signIn({ password: 'wrong' }),
      signIn({ password: '' }),
      signIn({ password: ` ${world.config.demoPassword}` }),
      signIn({ password: 'x'.repeat(500_000) }),
      signIn({ password: world.config.demoPassword.padEnd(2_000, '\u0000') }),
      signIn({ tenant: 'platform' }),
      signIn({ email: 'operator@platform.example' }),
    ]);
    const shown = refusals.map(({ status, data, errors }) => ({
      status,
      data,
      messages: errors.map(({ message }) => message),
      extensions: errors.map(({ extensions }) => extensions),
    }));
    expect(new Set(shown.map((refusal) => JSON.stringify(refusal))).size).toBe(1);
    expect(shown[0]).toMatchObject({ status: 401, data: null, extensions: [{ code: 'UNAUTHENTICATED' }] });
  });

  it('a token ends when it says, to the second', async () => {
    const { data } = await signIn();
    const caller = world.caller(data.signIn.accessToken);
    await clock.advance(899_000);
    expect((await caller.run('{ viewer { id } }')).code).toBeUndefined();
    await clock.advance(1_000);
    expect(await caller.run('{ viewer { id } }')).toMatchObject({ code: 'UNAUTHENTICATED', status: 401 });
  });
});
