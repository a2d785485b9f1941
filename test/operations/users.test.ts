import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actingIn } from '../support/refusals.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const USERS = `query($first: Int, $after: String) {
  users(first: $first, after: $after) { nodes { id name email roles status createdAt } pageInfo { hasNextPage endCursor } }
}`;
const INVITE = `mutation($input: InviteUserInput!) { inviteUser(input: $input) { user { id email roles status } token expiresAt } }`;
const ACCEPT = `mutation($input: AcceptInvitationInput!) {
  acceptInvitation(input: $input) { accessToken refreshToken viewer { id name roles tenant { id } } }
}`;
const RESET = `mutation($id: ID!) { resetUserPassword(userId: $id) { user { id } token } }`;
const SET_ROLES = `mutation($input: SetUserRolesInput!) { setUserRoles(input: $input) { user { id roles } } }`;
const DISABLE = `mutation($id: ID!) { disableUser(userId: $id) { user { id status } } }`;
const ENABLE = `mutation($id: ID!) { enableUser(userId: $id) { user { id status } } }`;
const CHANGE = `mutation($input: ChangePasswordInput!) { changePassword(input: $input) { accessToken viewer { id } } }`;
const SIGN_IN = `mutation($input: SignInInput!) { signIn(input: $input) { accessToken } }`;

const mia = { email: 'mia@acme.example', name: 'Mia', roles: ['MEMBER'] };
const PASSWORD = 'correct horse battery staple';
const OTHER = 'a stapled battery for horses';

/** One world for all of them, in this order: Mia is invited, works, and is administered. */
let world: World;
let token: string;
let miaId: string;
let miaHerself: Caller;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

const signInCode = async (password: string) =>
  (await world.nobody.run(SIGN_IN, { input: { tenant: 'acme', email: mia.email, password } })).code;

describe('inviteUser', () => {
  it('ok: an administrator receives a token; until it is used nobody signs in', async () => {
    const { data } = await world.acme.admin.run(INVITE, { input: mia });
    ({ token } = data.inviteUser);
    miaId = data.inviteUser.user.id;
    expect(data.inviteUser.user).toEqual({ id: miaId, email: mia.email, roles: ['MEMBER'], status: 'INVITED' });
    expect(await signInCode(PASSWORD)).toBe('UNAUTHENTICATED');
  });

  it('CONFLICT for an address that a user signs in with; BAD_USER_INPUT for a role that is not given', async () => {
    const { admin } = world.acme;
    expect((await admin.run(INVITE, { input: { ...mia, email: 'member@acme.example' } })).code).toBe('CONFLICT');
    expect((await admin.run(INVITE, { input: { ...mia, roles: ['PLATFORM_OPERATOR'] } })).code).toBe('BAD_USER_INPUT');
  });
});

describe('acceptInvitation', () => {
  it('UNAUTHENTICATED for a token that is not good, BAD_USER_INPUT for a password that is not', async () => {
    const input = { token, password: PASSWORD };
    expect((await world.nobody.run(ACCEPT, { input: { ...input, token: `${token.slice(0, -2)}AA` } })).code).toBe(
      'UNAUTHENTICATED',
    );
    const weak = await world.nobody.run(ACCEPT, { input: { ...input, password: 'acmeacmeacme123' } });
    expect(weak.errors[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'password' });
  });

  it('ok: signs in, and the token is used up', async () => {
    const input = { token, password: PASSWORD };
    const { data } = await world.nobody.run(ACCEPT, { input });
    expect(data.acceptInvitation.viewer).toEqual({ id: miaId, name: 'Mia', roles: ['MEMBER'], tenant: { id: 'acme' } });
    miaHerself = world.caller(data.acceptInvitation.accessToken);
    await miaHerself.createConversation('Mia’s own');
    expect((await world.nobody.run(ACCEPT, { input })).code).toBe('UNAUTHENTICATED');
  });
});

describe('users', () => {
  it('ok: administrators and acting operators page through the users of the one tenant', async () => {
    for (const caller of [world.acme.admin, actingIn(world, 'acme')]) {
      const { data } = await caller.run(USERS, { first: 2 });
      expect(data.users.nodes.map(({ email }: { email: string }) => email)).toEqual([
        'admin@acme.example',
        'member@acme.example',
      ]);
      const next = await caller.run(USERS, { first: 2, after: data.users.pageInfo.endCursor });
      const createdAt = expect.stringMatching(/^20.*Z$/) as string;
      expect(next.data.users.nodes).toEqual([{ id: miaId, ...mia, status: 'ACTIVE', createdAt }]);
      expect(next.data.users.pageInfo.hasNextPage).toBe(false);
    }
  });

  it('FORBIDDEN for members, like every change of a user', async () => {
    const { member } = world.acme;
    const asked = [
      member.run(USERS),
      member.run(INVITE, { input: mia }),
      member.run(SET_ROLES, { input: { userId: member.id, roles: ['TENANT_ADMIN'] } }),
      ...[DISABLE, ENABLE, RESET].map((mutation) => member.run(mutation, { id: miaId })),
    ];
    expect((await Promise.all(asked)).map(({ code }) => code)).toEqual(asked.map(() => 'FORBIDDEN'));
  });
});

describe('setUserRoles', () => {
  it('ok: whoever signs in next holds them; NOT_FOUND from another tenant; CONFLICT for the last administrator', async () => {
    const { acme, globex } = world;
    const input = { userId: miaId, roles: ['TENANT_ADMIN', 'MEMBER'] };
    expect((await globex.admin.run(SET_ROLES, { input })).code).toBe('NOT_FOUND');
    expect((await acme.admin.run(SET_ROLES, { input: { userId: acme.admin.id, roles: ['MEMBER'] } })).code).toBe(
      'CONFLICT',
    );
    const { data } = await acme.admin.run(SET_ROLES, { input });
    expect(data.setUserRoles.user).toEqual({ id: miaId, roles: ['TENANT_ADMIN', 'MEMBER'] });
    await acme.admin.run(SET_ROLES, { input: { userId: miaId, roles: ['MEMBER'] } });
  });
});

describe('disableUser', () => {
  it('ok: nobody signs in, and what was theirs still shows their name', async () => {
    const { data } = await world.acme.admin.run(DISABLE, { id: miaId });
    expect(data.disableUser.user).toEqual({ id: miaId, status: 'DISABLED' });
    expect(await signInCode(PASSWORD)).toBe('UNAUTHENTICATED');
    const owners = await world.acme.admin.run(
      `query($id: ID) { conversations(filter: { ownerId: $id }) { nodes { title owner { name } } } }`,
      { id: miaId },
    );
    expect(owners.data.conversations.nodes).toEqual([{ title: 'Mia’s own', owner: { name: 'Mia' } }]);
  });

  it('CONFLICT for the last administrator, who goes on', async () => {
    expect((await world.acme.admin.run(DISABLE, { id: world.acme.admin.id })).code).toBe('CONFLICT');
    expect((await world.acme.admin.run('{ tenant { id } }')).data.tenant.id).toBe('acme');
  });
});

describe('enableUser', () => {
  it('ok: the password is the same as before', async () => {
    expect((await world.acme.admin.run(ENABLE, { id: miaId })).data.enableUser.user).toEqual({
      id: miaId,
      status: 'ACTIVE',
    });
    expect(await signInCode(PASSWORD)).toBeUndefined();
  });
});

describe('resetUserPassword', () => {
  it('ok: the old password counts until the new one is chosen', async () => {
    const { data } = await world.acme.admin.run(RESET, { id: miaId });
    expect(await signInCode(PASSWORD)).toBeUndefined();
    const accepted = await world.nobody.run(ACCEPT, {
      input: { token: data.resetUserPassword.token, password: OTHER },
    });
    miaHerself = world.caller(accepted.data.acceptInvitation.accessToken);
    expect([await signInCode(PASSWORD), await signInCode(OTHER)]).toEqual(['UNAUTHENTICATED', undefined]);
  });
});

describe('changePassword', () => {
  it('BAD_USER_INPUT where the current one is wrong; ok: the new one signs in, the old one does not', async () => {
    const wrong = await miaHerself.run(CHANGE, { input: { currentPassword: PASSWORD, newPassword: PASSWORD } });
    expect(wrong.errors[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'currentPassword' });
    const { data } = await miaHerself.run(CHANGE, { input: { currentPassword: OTHER, newPassword: PASSWORD } });
    expect(data.changePassword.viewer.id).toBe(miaId);
    expect([await signInCode(OTHER), await signInCode(PASSWORD)]).toEqual(['UNAUTHENTICATED', undefined]);
  });

  it('FORBIDDEN for operators, who are of no tenant', async () => {
    const input = { currentPassword: OTHER, newPassword: PASSWORD };
    expect((await actingIn(world, 'acme').run(CHANGE, { input })).code).toBe('FORBIDDEN');
  });
});
