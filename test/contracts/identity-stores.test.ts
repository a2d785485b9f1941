import { expect, it } from 'vitest';
import type { Account, RefreshSession } from '../../src/auth/model.ts';
import { ulid } from '../../src/kernel/ids.ts';
import { newUserId } from '../../src/tenancy/principal.ts';
import { createMovableClock, onEveryEngine } from '../support/dynamodb-storage.ts';
import type { Fate } from '../support/lossy-proxy.ts';

const MINUTE = 60_000;

const anAccount = (more: Partial<Account> = {}): Account => ({
  userId: newUserId(Date.now()),
  name: 'Mia Member',
  email: 'mia@acme.example',
  roles: ['MEMBER'],
  passwordHash: '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g',
  ...more,
});

onEveryEngine('UserStore and AccountStore', (storage) => {
  const open = () => {
    const clock = createMovableClock();
    const tenantId = storage().tenant();
    return { clock, tenantId, users: storage().connect({ clock }).forTenant(tenantId).users };
  };

  it('a registered account is found by address, however written, and by id; the user shows no secret', async () => {
    const { clock, tenantId, users } = open();
    const account = anAccount({ email: ' Mia@ACME.example ' });
    expect(await users.register(account, clock.now())).toBe(true);
    const stored = { ...account, email: 'mia@acme.example' };
    expect(await users.get(account.userId)).toEqual(stored);
    for (const email of ['mia@acme.example', 'MIA@acme.example', ' mia@acme.example\t'])
      expect(await users.findByEmail(email)).toEqual(stored);
    const { userId: id, name, email, roles } = stored;
    expect(await users.getMany([id])).toEqual([{ tenantId, id, name, email, roles }]);
  });

  it('many are read in the order asked for, with duplicates, and null for who is not there', async () => {
    const { clock, users } = open();
    const [a, b] = [anAccount({ email: 'a@x.example' }), anAccount({ email: 'b@x.example' })];
    await users.register(a, clock.now());
    await users.register(b, clock.now());
    const found = await users.getMany([b.userId, newUserId(0), a.userId, b.userId]);
    expect(found.map((user) => user?.id)).toEqual([b.userId, undefined, a.userId, b.userId]);
  });

  it('an address that is taken refuses the next one and changes nothing, in any spelling', async () => {
    const { clock, tenantId, users } = open();
    const first = anAccount();
    await users.register(first, clock.now());
    const before = await storage().rowsOf(tenantId);
    const second = anAccount({ email: 'MIA@acme.example' });
    expect(await users.register(second, clock.now())).toBe(false);
    expect(await storage().rowsOf(tenantId)).toEqual(before);
    expect(await users.findByEmail(first.email)).toMatchObject({ userId: first.userId });
  });

  it('an address stays taken for good once its user exists', async () => {
    const { clock, users } = open();
    const first = anAccount();
    await users.register(first, clock.now());
    clock.move(365 * 24 * 60 * MINUTE);
    expect(await users.register(anAccount(), clock.now())).toBe(false);
    expect(await users.findByEmail(first.email)).toMatchObject({ userId: first.userId });
  });

  it('of 20 registrations of one address one wins, and it is the one found', async () => {
    const { clock, users } = open();
    const accounts = Array.from({ length: 20 }, () => anAccount());
    const results = await Promise.all(accounts.map((account) => users.register(account, clock.now())));
    expect(results.filter(Boolean)).toHaveLength(1);
    expect(await users.findByEmail(accounts[0]!.email)).toMatchObject({
      userId: accounts[results.indexOf(true)]!.userId,
    });
  });

  it("another tenant's address and user are absent, and the same address may be used there", async () => {
    const { clock, users } = open();
    const account = anAccount();
    await users.register(account, clock.now());
    const other = open();
    expect(await other.users.get(account.userId)).toBeNull();
    expect(await other.users.getMany([account.userId])).toEqual([null]);
    expect(await other.users.findByEmail(account.email)).toBeNull();
    expect(await other.users.register(anAccount(), clock.now())).toBe(true);
  });

  it('a registration that died before its user existed frees the address after five minutes, not before', async () => {
    const { clock, tenantId, users } = open();
    const proxy = await storage().proxy();
    const dying = storage().connect({ clock, proxy }).forTenant(tenantId).users;
    proxy.decide(({ operation, body }) => (operation === 'PutItem' && body.includes('#U#') ? 'refuse' : 'pass'));
    await expect(dying.register(anAccount(), clock.now())).rejects.toThrow();
    clock.move(4 * MINUTE);
    expect(await users.register(anAccount(), clock.now())).toBe(false);
    clock.move(MINUTE + 2_000);
    expect(await users.findByEmail('mia@acme.example')).toBeNull();
    const next = anAccount();
    expect(await users.register(next, clock.now())).toBe(true);
    expect(await users.findByEmail(next.email)).toMatchObject({ userId: next.userId });
  });

  it('a registration that died after its user existed keeps the address: its user can still sign in', async () => {
    const { clock, tenantId, users } = open();
    const proxy = await storage().proxy();
    const dying = storage().connect({ clock, proxy }).forTenant(tenantId).users;
    proxy.decide(({ operation }) => (operation === 'UpdateItem' ? 'refuse' : 'pass'));
    const first = anAccount();
    await expect(dying.register(first, clock.now())).rejects.toThrow();
    clock.move(6 * MINUTE);
    expect(await users.register(anAccount(), clock.now())).toBe(false);
    expect(await users.findByEmail(first.email)).toMatchObject({ userId: first.userId });
  });

  it('a registration that was overtaken after its time says that the address is taken', async () => {
    const { clock, tenantId, users } = open();
    const proxy = await storage().proxy();
    const slow = storage().connect({ clock, proxy }).forTenant(tenantId).users;
    const second = anAccount();
    // The first one stands still after it took the address, and the second comes after its time has run out.
    let overtaken = false;
    proxy.decide(async ({ operation, body }): Promise<Fate> => {
      if (overtaken || operation !== 'PutItem' || !body.includes('#U#')) return 'pass';
      overtaken = true;
      clock.move(6 * MINUTE);
      expect(await users.register(second, clock.now())).toBe(true);
      return 'pass';
    });
    const first = anAccount();
    expect(await slow.register(first, clock.now())).toBe(false);
    expect(overtaken).toBe(true);
    expect(await users.get(first.userId)).toBeNull();
    expect(await users.findByEmail(first.email)).toMatchObject({ userId: second.userId });
  });
});

onEveryEngine('SessionStore', (storage) => {
  const open = () => {
    const clock = createMovableClock();
    const tenantId = storage().tenant();
    const { sessions } = storage().connect({ clock }).forTenant(tenantId);
    const session: RefreshSession = {
      userId: newUserId(Date.now()),
      sessionId: ulid(Date.now()),
      familyHash: 'family',
      secretHash: 'first',
      expiresAt: clock.now() + 60 * MINUTE,
    };
    return { clock, tenantId, sessions, session };
  };

  it('rotates from the current secret, each one once; one that was replaced is REUSED', async () => {
    const { sessions, session } = open();
    await sessions.create(session);
    expect(await sessions.rotate({ ...session, secretHash: 'second' }, 'first')).toBe('ROTATED');
    expect(await sessions.rotate({ ...session, secretHash: 'third' }, 'first')).toBe('REUSED');
    expect(await sessions.rotate({ ...session, secretHash: 'third' }, 'second')).toBe('ROTATED');
  });

  it('whoever never held a token of it is UNKNOWN, and changes nothing', async () => {
    const { tenantId, sessions, session } = open();
    await sessions.create(session);
    const before = await storage().rowsOf(tenantId);
    for (const familyHash of ['another', ''])
      expect(await sessions.rotate({ ...session, familyHash, secretHash: 'x' }, 'first')).toBe('UNKNOWN');
    expect(await storage().rowsOf(tenantId)).toEqual(before);
  });

  it('of 20 rotations from one secret one wins', async () => {
    const { sessions, session } = open();
    await sessions.create(session);
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, n) => sessions.rotate({ ...session, secretHash: `next ${n}` }, 'first')),
    );
    expect(results.filter((result) => result === 'ROTATED')).toHaveLength(1);
    expect(results.filter((result) => result === 'REUSED')).toHaveLength(19);
    const current = `next ${results.indexOf('ROTATED')}`;
    expect(await sessions.rotate({ ...session, secretHash: 'z' }, current)).toBe('ROTATED');
  });

  it('a session past its time is gone, before DynamoDB deletes it', async () => {
    const { clock, tenantId, sessions, session } = open();
    await sessions.create(session);
    clock.move(61 * MINUTE);
    expect(await sessions.rotate({ ...session, secretHash: 'second' }, 'first')).toBe('UNKNOWN');
    expect(await storage().rowsOf(tenantId)).toHaveLength(1);
  });

  it('rotating extends it', async () => {
    const { clock, sessions, session } = open();
    await sessions.create(session);
    clock.move(50 * MINUTE);
    const renewed = { ...session, secretHash: 'second', expiresAt: clock.now() + 60 * MINUTE };
    expect(await sessions.rotate(renewed, 'first')).toBe('ROTATED');
    clock.move(50 * MINUTE);
    expect(await sessions.rotate({ ...renewed, secretHash: 'third' }, 'second')).toBe('ROTATED');
  });

  it('a removed session does not rotate, and is not made again by trying', async () => {
    const { tenantId, sessions, session } = open();
    await sessions.create(session);
    await sessions.remove(session.userId, session.sessionId);
    await sessions.remove(session.userId, session.sessionId);
    expect(await sessions.rotate(session, 'first')).toBe('UNKNOWN');
    expect(await storage().rowsOf(tenantId)).toEqual([]);
  });

  it('names the account it is of, in one read, while both are there', async () => {
    const { clock, tenantId, sessions, session } = open();
    const { users } = storage().connect({ clock }).forTenant(tenantId);
    const account = anAccount({ userId: session.userId });
    await sessions.create(session);
    expect(await sessions.accountOf(session.userId, session.sessionId)).toBeNull();
    await users.register(account, clock.now());
    expect(await sessions.accountOf(session.userId, session.sessionId)).toEqual(account);
    expect(await sessions.accountOf(session.userId, ulid(1))).toBeNull();
    expect(await open().sessions.accountOf(session.userId, session.sessionId)).toBeNull();
    clock.move(61 * MINUTE);
    expect(await sessions.accountOf(session.userId, session.sessionId)).toBeNull();
  });

  it('another tenant, user or session neither rotates nor removes it', async () => {
    const { sessions, session } = open();
    await sessions.create(session);
    const foreign = open().sessions;
    expect(await foreign.rotate(session, 'first')).toBe('UNKNOWN');
    await foreign.remove(session.userId, session.sessionId);
    expect(await sessions.rotate({ ...session, userId: newUserId(1) }, 'first')).toBe('UNKNOWN');
    expect(await sessions.rotate({ ...session, sessionId: ulid(1) }, 'first')).toBe('UNKNOWN');
    expect(await sessions.rotate(session, 'first')).toBe('ROTATED');
  });
});
