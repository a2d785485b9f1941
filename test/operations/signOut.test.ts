import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestClock } from '../support/clock.ts';
import { withMadeUpSecrets } from '../support/refusals.ts';
import { startWorld, type World } from '../support/world.ts';

const SIGN_OUT = `mutation($token: String!) { signOut(refreshToken: $token) }`;
const REFRESH = `mutation($token: String!) { refreshSession(refreshToken: $token) { refreshToken } }`;

describe('signOut', () => {
  const clock = createTestClock();
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ clock });
  });
  afterAll(() => world.stop());

  const newToken = async () => (await world.signIn('acme', 'member@acme.example')).refreshToken;
  const signOut = (token: string) => world.nobody.run(SIGN_OUT, { token });
  const refresh = (token: string) => world.nobody.run(REFRESH, { token });

  it('ok: the session cannot be renewed any more; other sessions can', async () => {
    const [token, other] = [await newToken(), await newToken()];
    expect((await signOut(token)).data).toEqual({ signOut: true });
    expect((await refresh(token)).code).toBe('UNAUTHENTICATED');
    expect((await refresh(other)).code).toBeUndefined();
  });

  it('ok: true also for a session that has ended, and for what is no token', async () => {
    const token = await newToken();
    for (const text of [token, token, '', 'rt', 'x'.repeat(10_000), token.replace('acme', 'hooli')]) {
      const { data, errors } = await signOut(text);
      expect([data, errors]).toEqual([{ signOut: true }, []]);
    }
  });

  it('ends nothing for whoever knows the session but none of its secrets', async () => {
    const token = await newToken();
    await signOut(withMadeUpSecrets(token));
    expect((await refresh(token)).code).toBeUndefined();
  });

  it('its access tokens are refused within 30 s, by one read of the store for as long', async () => {
    const member = await world.signIn('acme', 'member@acme.example');
    const viewer = () => member.run('{ viewer { id } }');
    expect((await viewer()).data.viewer.id).toBe(member.id);
    await signOut(member.refreshToken);
    const requests = await world.requestsOf(async () => {
      for (let n = 0; n < 5; n++) expect((await viewer()).data.viewer.id).toBe(member.id);
    });
    expect(requests).toEqual([]);
    await clock.advance(25_000);
    const looks = await world.requestsOf(async () => {
      for (let n = 0; n < 5; n++) expect((await viewer()).code).toBe('UNAUTHENTICATED');
    });
    expect(looks.filter(({ phase }) => phase === 'sent').map(({ operation }) => operation)).toEqual([
      'BatchGetItemCommand',
    ]);
  });
});
