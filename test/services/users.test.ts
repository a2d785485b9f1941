import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parsePasswordToken } from '../../src/tenancy/password-token.ts';
import type { Role } from '../../src/tenancy/principal.ts';
import { createUserAdministration } from '../../src/users/administration.ts';
import { newUserId } from '../../src/tenancy/principal.ts';
import { principalOf } from '../support/bound-api.ts';
import { createMovableClock, openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import type { Fate, LossyProxy } from '../support/lossy-proxy.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const ADMIN: readonly Role[] = ['TENANT_ADMIN'];
const MEMBER: readonly Role[] = ['MEMBER'];

/** A tenant with these active users, and who administers them; a proxy stands before the administration only. */
async function open(roles: readonly (readonly Role[])[] = [ADMIN], proxy?: LossyProxy) {
  const clock = createMovableClock();
  const tenantId = storage.tenant();
  const stores = storage.connect({ clock }).forTenant(tenantId);
  const ids: string[] = [];
  for (const [index, each] of roles.entries()) {
    const userId = newUserId(clock.now());
    ids.push(userId);
    const account = { userId, name: `User ${index}`, email: `u${index}@x.example`, roles: each, passwordHash: 'hash' };
    expect(await stores.users.register(account, clock.now())).toBe(true);
  }
  const ended: string[] = [];
  const administrationBy = (through?: LossyProxy) =>
    createUserAdministration({
      scope: { tenantId, principal: principalOf() },
      directory: storage.connect({ clock, ...(through && { proxy: through }) }).forTenant(tenantId).userDirectory,
      sessions: { removeAll: (userId) => Promise.resolve(void ended.push(userId)) },
      clock,
    });
  const activeAdmins = async () => {
    const { nodes } = await administrationBy().list({ first: 100 });
    return nodes.filter(({ status, roles }) => status === 'ACTIVE' && roles.includes('TENANT_ADMIN')).length;
  };
  return { clock, tenantId, stores, ids, ended, administrationBy, users: administrationBy(proxy), activeAdmins };
}

describe('inviting', () => {
  it('stores a user who cannot sign in, and a hash of the token that is handed out', async () => {
    const { users, stores, tenantId, clock } = await open();
    const handed = await users.invite({ email: ' Mia@X.example', name: ' Mia ', roles: MEMBER });
    expect(handed.user).toMatchObject({
      name: 'Mia',
      email: 'mia@x.example',
      status: 'INVITED',
      roles: MEMBER,
      tenantId,
    });
    expect(parsePasswordToken(handed.token)).toMatchObject({ home: tenantId, userId: handed.user.id });
    expect(Date.parse(handed.expiresAt) - clock.now()).toBeGreaterThan(6.9 * 86_400_000);
    expect(JSON.stringify(await storage.rowsOf(tenantId))).not.toContain(handed.token.split('.').at(-1));
    expect(await stores.users.findByEmail('mia@x.example')).toBeNull();
    expect(await stores.users.get(handed.user.id)).toBeNull();
    expect(await stores.users.getMany([handed.user.id])).toMatchObject([{ name: 'Mia' }]);
    const { nodes } = await users.list({});
    expect(nodes.map(({ email, status }) => [email, status])).toEqual([
      ['mia@x.example', 'INVITED'],
      ['u0@x.example', 'ACTIVE'],
    ]);
  });

  it('again replaces token, name and roles of the same user', async () => {
    const { users, tenantId } = await open();
    const first = await users.invite({ email: 'mia@x.example', name: 'Mia', roles: MEMBER });
    const second = await users.invite({ email: 'MIA@x.example', name: 'Mia M.', roles: ADMIN });
    expect(second.user).toMatchObject({ id: first.user.id, name: 'Mia M.', roles: ADMIN, status: 'INVITED' });
    const row = (await storage.rowsOf(tenantId)).find(({ PK }) => PK.endsWith(first.user.id));
    expect(row?.['tokenHash']).toBe(parsePasswordToken(second.token)?.hash);
    expect((await users.list({})).nodes).toHaveLength(2);
  });

  it('CONFLICT for the address of somebody who has accepted, or was disabled', async () => {
    const { users, ids } = await open([ADMIN, MEMBER]);
    const input = { email: 'u1@x.example', name: 'Mia', roles: MEMBER };
    await expect(users.invite(input)).rejects.toMatchObject({ code: 'CONFLICT' });
    await users.disable(ids[1]!);
    await expect(users.invite(input)).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  it.each([[], ['PLATFORM_OPERATOR'], ['PARTNER'], ['MEMBER', 'PLATFORM_OPERATOR']] as Role[][])(
    'nobody is given the roles %j, by invitation or later',
    async (...roles) => {
      const { users, ids } = await open();
      const invited = users.invite({ email: 'mia@x.example', name: 'Mia', roles });
      await expect(invited).rejects.toMatchObject({ code: 'BAD_USER_INPUT', details: { field: 'roles' } });
      const changed = users.setRoles({ userId: ids[0]!, roles });
      await expect(changed).rejects.toMatchObject({ code: 'BAD_USER_INPUT', details: { field: 'roles' } });
    },
  );
});

describe('disabling', () => {
  it('keeps the user, ends their sessions, and takes their token; enabling gives all back but those', async () => {
    const { users, stores, ids, ended, tenantId } = await open([ADMIN, MEMBER]);
    const id = ids[1]!;
    await users.resetPassword(id);
    expect(await users.disable(id)).toMatchObject({ status: 'DISABLED', roles: MEMBER });
    expect(ended).toEqual([id]);
    expect(await stores.users.get(id)).toMatchObject({ disabled: true });
    expect(await stores.users.getMany([id])).toMatchObject([{ id, name: 'User 1' }]);
    const row = (await storage.rowsOf(tenantId)).find(({ PK }) => PK.endsWith(id));
    expect([row?.['tokenHash'], row?.['tokenUntil']]).toEqual([undefined, undefined]);
    await expect(users.resetPassword(id)).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await users.enable(id)).toMatchObject({ status: 'ACTIVE', roles: MEMBER });
    expect(await stores.users.get(id)).not.toHaveProperty('disabled');
  });

  it('somebody who was only invited is invited again when enabled', async () => {
    const { users } = await open();
    const { user } = await users.invite({ email: 'mia@x.example', name: 'Mia', roles: ADMIN });
    expect(await users.disable(user.id)).toMatchObject({ status: 'DISABLED' });
    expect(await users.enable(user.id)).toMatchObject({ status: 'INVITED' });
  });

  it('NOT_FOUND for a user of another tenant, one who is not there, and what no user is called', async () => {
    const { users } = await open();
    const other = await open();
    for (const id of [other.ids[0]!, newUserId(0), 'user-x', 'A#B', ''])
      for (const act of [
        (userId: string) => users.disable(userId),
        (userId: string) => users.enable(userId),
        (userId: string) => users.resetPassword(userId),
        (userId: string) => users.setRoles({ userId, roles: MEMBER }),
      ])
        await expect(act(id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('the last administrator', () => {
  it('is neither disabled nor made a member; somebody who is only invited, or disabled, does not count', async () => {
    const { users, ids } = await open([ADMIN, MEMBER, ADMIN]);
    await users.invite({ email: 'mia@x.example', name: 'Mia', roles: ADMIN });
    await users.disable(ids[2]!);
    const [last] = ids as [string];
    await expect(users.disable(last)).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(users.setRoles({ userId: last, roles: MEMBER })).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await users.setRoles({ userId: last, roles: ['MEMBER', 'TENANT_ADMIN'] })).toMatchObject({
      roles: ['TENANT_ADMIN', 'MEMBER'],
    });
    await users.setRoles({ userId: ids[1]!, roles: ADMIN });
    expect(await users.disable(last)).toMatchObject({ status: 'DISABLED' });
  });

  it('remains however many administrators remove each other at once', async () => {
    for (let round = 0; round < 3; round++) {
      const { users, ids, activeAdmins } = await open([ADMIN, ADMIN, ADMIN, ADMIN]);
      const outcomes = await Promise.allSettled(
        ids.map((id, index) => (index % 2 === 0 ? users.disable(id) : users.setRoles({ userId: id, roles: MEMBER }))),
      );
      expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(1);
      expect(await activeAdmins()).toBe(1);
    }
  });

  it('remains where changes crash between their writes, and each can be repeated', async () => {
    const proxy = await storage.proxy();
    const { ids, users, administrationBy, activeAdmins } = await open([ADMIN, ADMIN, MEMBER], proxy);
    const [first, second, third] = ids as [string, string, string];
    const crash = () =>
      proxy.decide(({ operation, body }) => (operation === 'UpdateItem' && body.includes('#U#') ? 'refuse' : 'pass'));
    // In the roster, but no administrator: they do not count.
    crash();
    await expect(users.setRoles({ userId: third, roles: ADMIN })).rejects.toThrow();
    // Out of the roster, but still an administrator.
    await expect(users.disable(second)).rejects.toThrow();
    proxy.decide(null);
    await expect(administrationBy().disable(first)).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await activeAdmins()).toBe(2);
    expect(await administrationBy().setRoles({ userId: third, roles: ADMIN })).toMatchObject({ roles: ADMIN });
    expect(await administrationBy().disable(second)).toMatchObject({ status: 'DISABLED' });
    expect(await administrationBy().disable(first)).toMatchObject({ status: 'DISABLED' });
    expect(await activeAdmins()).toBe(1);
  });

  it('a change that was overtaken does not undo the later one', async () => {
    const proxy = await storage.proxy();
    const { ids, users, administrationBy, stores } = await open([ADMIN, ADMIN], proxy);
    const second = ids[1]!;
    let overtaken = false;
    proxy.decide(async ({ operation, body }): Promise<Fate> => {
      if (overtaken || operation !== 'UpdateItem' || !body.includes('#U#')) return 'pass';
      overtaken = true;
      await administrationBy().setRoles({ userId: second, roles: ['TENANT_ADMIN', 'MEMBER'] });
      return 'pass';
    });
    await users.setRoles({ userId: second, roles: MEMBER });
    expect(overtaken).toBe(true);
    expect((await stores.users.get(second))?.roles).toEqual(['TENANT_ADMIN', 'MEMBER']);
  });
});
