import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestClock } from '../support/clock.ts';
import { withMadeUpSecrets } from '../support/refusals.ts';
import { startWorld, type World } from '../support/world.ts';

const SIGN_OUT = `mutation($token: String!) { signOutEverywhere(refreshToken: $token) }`;
const REFRESH = `mutation($token: String!) { refreshSession(refreshToken: $token) { refreshToken } }`;

describe('signOutEverywhere', () => {
  const clock = createTestClock();
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ clock });
  });
  afterAll(() => world.stop());

  const signOut = (token: string) => world.nobody.run(SIGN_OUT, { token });
  const refresh = (token: string) => world.nobody.run(REFRESH, { token });

  it('ok: every session of the user ends, also for access tokens within 30 s; those of others go on', async () => {
    const phone = await world.signIn('acme', 'member@acme.example');
    const laptop = await world.signIn('acme', 'member@acme.example');
    for (const session of [phone, laptop]) expect((await session.run('{ viewer { id } }')).status).toBe(200);
    expect((await signOut(phone.refreshToken)).data).toEqual({ signOutEverywhere: true });
    expect((await refresh(laptop.refreshToken)).code).toBe('UNAUTHENTICATED');
    await clock.advance(30_000);
    for (const session of [phone, laptop, world.acme.member])
      expect((await session.run('{ viewer { id } }')).code).toBe('UNAUTHENTICATED');
    expect((await world.acme.admin.run('{ viewer { id } }')).status).toBe(200);
  });

  it('ok: the user may sign in again at once', async () => {
    const again = await world.signIn('acme', 'member@acme.example');
    expect((await again.run('{ viewer { id } }')).data.viewer.id).toBe(world.acme.member.id);
  });

  it('ok: true also for what is no token, and it ends nothing then', async () => {
    const { refreshToken } = await world.signIn('acme', 'member@acme.example');
    for (const text of ['', 'rt', 'x'.repeat(10_000), withMadeUpSecrets(refreshToken)])
      expect((await signOut(text)).data).toEqual({ signOutEverywhere: true });
    expect((await refresh(refreshToken)).code).toBeUndefined();
  });
});
