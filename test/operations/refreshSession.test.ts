import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestClock, type TestClock } from '../support/clock.ts';
import { withMadeUpSecrets } from '../support/refusals.ts';
import { startWorld, type World } from '../support/world.ts';

const REFRESH = `mutation($token: String!) { refreshSession(refreshToken: $token) {
  accessToken accessTokenExpiresAt refreshToken viewer { id roles tenant { id } }
} }`;
const DAY_MS = 86_400_000;

describe('refreshSession', () => {
  let clock: TestClock;
  let world: World;
  beforeAll(async () => {
    clock = createTestClock();
    world = await startWorld({ clock });
  });
  afterAll(() => world.stop());

  const newToken = async () => (await world.signIn('acme', 'member@acme.example')).refreshToken;
  const refresh = (token: string) => world.nobody.run(REFRESH, { token });

  it('ok: a new access token and a new refresh token, again and again', async () => {
    let token = await newToken();
    const tokens = new Set([token]);
    for (let round = 0; round < 3; round++) {
      const { data } = await refresh(token);
      expect(data.refreshSession.viewer).toEqual({
        id: world.acme.member.id,
        roles: ['MEMBER'],
        tenant: { id: 'acme' },
      });
      const viewer = await world.caller(data.refreshSession.accessToken).run('{ viewer { id } }');
      expect(viewer.data.viewer.id).toBe(world.acme.member.id);
      token = data.refreshSession.refreshToken;
      tokens.add(token);
    }
    expect(tokens.size).toBe(4);
  });

  it('ok: an operator’s session too', async () => {
    const { data } = await refresh((await world.signIn('platform', 'operator@platform.example')).refreshToken);
    expect(data.refreshSession.viewer).toMatchObject({ roles: ['PLATFORM_OPERATOR'], tenant: null });
  });

  it('UNAUTHENTICATED for a token already used, and its whole session ends with it', async () => {
    const first = await newToken();
    const { data } = await refresh(first);
    expect(await refresh(first)).toMatchObject({ code: 'UNAUTHENTICATED', status: 401, data: null });
    expect((await refresh(data.refreshSession.refreshToken)).code).toBe('UNAUTHENTICATED');
  });

  it('a token already used leaves an entry in the tenant’s trail: whose session ended, and where the token came from', async () => {
    const token = await newToken();
    await refresh(token);
    await refresh(token);
    await world.product.recorded();
    const query = `{ auditLog(filter: { resource: "session/${token.split('.')[3]}" }) { nodes { action actorId result ipAddress userAgent details } } }`;
    const { data, errors } = await world.acme.admin.run(query);
    expect(errors).toEqual([]);
    const [actorId, userAgent] = [world.acme.member.id, 'node'];
    expect(data.auditLog.nodes).toEqual([
      { action: 'session.reuse', actorId, result: 'FAILURE', ipAddress: '127.0.0.1', userAgent, details: {} },
    ]);
  });

  it('a used token ends its own session only', async () => {
    const [token, other] = [await newToken(), await newToken()];
    await refresh(token);
    await refresh(token);
    expect((await refresh(other)).code).toBeUndefined();
  });

  it('of two refreshes with the same token at most one gets a session', async () => {
    const token = await newToken();
    const answers = await Promise.all(Array.from({ length: 5 }, () => refresh(token)));
    expect(answers.filter(({ code }) => code === undefined)).toHaveLength(1);
  });

  it('UNAUTHENTICATED for what is no refresh token, or another’s', async () => {
    const token = await newToken();
    const bad = [
      '',
      'rt',
      'x'.repeat(100_000),
      token.replace('rt.acme.', 'rt.globex.'),
      token.replace('rt.acme.', 'rt.platform.'),
      token.replace('rt.acme.', 'rt.hooli.'),
      token.replace(world.acme.member.id, world.acme.admin.id),
      `${token}A`,
      ` ${token}`,
      `${token}\n`,
      world.acme.member.token ?? '',
    ];
    for (const text of bad)
      expect([text.slice(0, 60), (await refresh(text)).code]).toEqual([text.slice(0, 60), 'UNAUTHENTICATED']);
    expect((await refresh(token)).code).toBeUndefined();
  });

  it('UNAUTHENTICATED for made-up secrets, and the session goes on', async () => {
    const token = await newToken();
    expect((await refresh(withMadeUpSecrets(token))).code).toBe('UNAUTHENTICATED');
    expect((await refresh(token)).code).toBeUndefined();
  });

  it('UNAUTHENTICATED once the session has ended: 30 days after the last refresh, not after the sign-in', async () => {
    let token = await newToken();
    await clock.skip(29 * DAY_MS);
    token = (await refresh(token)).data.refreshSession.refreshToken;
    await clock.skip(29 * DAY_MS);
    token = (await refresh(token)).data.refreshSession.refreshToken;
    await clock.skip(30 * DAY_MS + 1_000);
    expect((await refresh(token)).code).toBe('UNAUTHENTICATED');
  });
});
