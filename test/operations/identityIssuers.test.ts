import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UnsecuredJWT } from 'jose';
import { createTestClock } from '../support/clock.ts';
import { startOidcIssuer, type OidcIssuer } from '../support/oidc-issuer.ts';
import { openSocket } from '../support/raw-socket.ts';
import { actingIn, expectTenantNeeded } from '../support/refusals.ts';
import { startWorld, type World } from '../support/world.ts';

const SETTINGS = `issuers {
  issuer audiences tenantClaim { name value } userClaim emailClaim nameClaim rolesClaim roles { value role } defaultRole
} version`;
const SET = `mutation($input: SetIdentityIssuersInput!) { setIdentityIssuers(input: $input) { ${SETTINGS} } }`;
const GET = `{ identityIssuers { ${SETTINGS} } }`;
const VIEWER = '{ viewer { id name email roles tenant { id } } }';
const REFUSED = 'The access token is not valid, or has expired.';

const clock = createTestClock();
let world: World;
/** `acme`'s own issuer, one that `globex` and `acme` share, and one that is nobody's. */
let own: OidcIssuer;
let shared: OidcIssuer;
let other: OidcIssuer;
beforeAll(async () => {
  [world, own, shared, other] = await Promise.all([
    startWorld({ clock }),
    startOidcIssuer(clock),
    startOidcIssuer(clock),
    startOidcIssuer(clock),
  ]);
});
afterAll(async () => {
  await world.stop();
  await Promise.all([own.close(), shared.close(), other.close()]);
});

const set = (tenant: string, issuers: readonly object[], more: object = {}) =>
  actingIn(world, tenant).run(SET, { input: { issuers, ...more } });
const dedicated = (issuer: OidcIssuer, more: object = {}) => ({
  ...{ issuer: issuer.url, audiences: ['app-1'], defaultRole: 'MEMBER' },
  roles: [{ value: 'admins', role: 'TENANT_ADMIN' }],
  ...more,
});
const sharedBy = (value: string, more: object = {}) =>
  dedicated(shared, { tenantClaim: { name: 'cognito:groups', value }, ...more });

/** Lets the seconds pass until every instance knows, with time in each for what is read and sent. */
async function pass(count = 31) {
  for (let second = 0; second < count; second++) {
    await clock.advance(1_000);
    await world.nobody.run('{ __typename }');
  }
}

describe('setIdentityIssuers', () => {
  it('ok: all of them are replaced, and the names that are left out are those of Amazon Cognito', async () => {
    const { data, errors } = await set('acme', [dedicated(own)]);
    expect(errors).toEqual([]);
    expect(data.setIdentityIssuers).toEqual({
      issuers: [
        {
          ...{ issuer: own.url, audiences: ['app-1'], tenantClaim: null, userClaim: 'sub', emailClaim: 'email' },
          ...{ nameClaim: 'name', rolesClaim: 'cognito:groups', defaultRole: 'MEMBER' },
          roles: [{ value: 'admins', role: 'TENANT_ADMIN' }],
        },
      ],
      version: 1,
    });
    const again = await set('acme', [dedicated(own, { audiences: ['app-1', 'app-2'] })], { expectedVersion: 1 });
    expect(again.data.setIdentityIssuers).toMatchObject({ version: 2, issuers: [{ audiences: ['app-1', 'app-2'] }] });
  });

  it('ok: is in the trail of the tenant, as an operator’s act', async () => {
    await world.product.recorded();
    const query = '{ auditLog(filter: { action: "tenant.setIdentityIssuers" }) { nodes { result actorId details } } }';
    const { data } = await world.acme.admin.run(query);
    expect(data.auditLog.nodes[0]).toMatchObject({ result: 'SUCCESS', details: { operator: true } });
  });

  it.each<[string, object, string]>([
    ['whose keys cannot be fetched', { issuer: 'http://127.0.0.1:9' }, 'issuer'],
    ['at a private address', { issuer: 'https://10.0.0.1' }, 'issuer'],
    ['with a query', { issuer: 'https://issuer.example/?a=b' }, 'issuer'],
    ['that is this installation itself', { issuer: 'bedrock-graphql' }, 'issuer'],
    ['without audiences', { audiences: [] }, 'audiences'],
    ['with an empty audience', { audiences: [''] }, 'audiences'],
    ['whose users name their tenant themselves', { tenantClaim: { name: 'profile', value: 'x' } }, 'tenantClaim.name'],
    ['whose users chose it', { tenantClaim: { name: 'cognito:username', value: 'x' } }, 'tenantClaim.name'],
    ['whose users chose what they are', { rolesClaim: 'username' }, 'rolesClaim'],
    ['whose users might', { tenantClaim: { name: 'custom:tenant', value: 'x' } }, 'tenantClaim.name'],
    ['whose users say who they are', { userClaim: 'email' }, 'userClaim'],
    ['whose users choose their roles', { rolesClaim: 'nickname' }, 'rolesClaim'],
    ['whose clients are roles', { rolesClaim: 'aud' }, 'rolesClaim'],
    ['that makes operators', { roles: [{ value: 'x', role: 'PLATFORM_OPERATOR' }] }, 'roles'],
    ['that makes everybody an operator', { defaultRole: 'PLATFORM_OPERATOR' }, 'defaultRole'],
    ['that makes partners', { defaultRole: 'PARTNER' }, 'defaultRole'],
    ['that lets nobody in', { roles: [], defaultRole: null }, 'roles'],
  ])('BAD_USER_INPUT for an issuer %s, and nothing is changed', async (_what, change, field) => {
    const { errors } = await set('acme', [dedicated(own), dedicated(other, change)]);
    expect(errors[0]?.extensions).toEqual({ code: 'BAD_USER_INPUT', field });
    const { data } = await world.acme.admin.run(GET);
    expect(data.identityIssuers).toMatchObject({ version: 2, issuers: [{ issuer: own.url }] });
  });

  it('BAD_USER_INPUT for an issuer that is named twice, and for eleven', async () => {
    expect((await set('acme', [dedicated(own), dedicated(own)])).errors[0]?.extensions['field']).toBe('issuers');
    const eleven = Array.from({ length: 11 }, () => dedicated(own));
    expect((await set('acme', eleven)).errors[0]?.extensions['field']).toBe('issuers');
  });

  it('CONFLICT for an issuer that is another tenant’s, in either way; it is free once that tenant has left it', async () => {
    expect((await set('globex', [dedicated(own)])).code).toBe('CONFLICT');
    const claimed = dedicated(own, { tenantClaim: { name: 'cognito:groups', value: 'globex' } });
    expect((await set('globex', [claimed])).code).toBe('CONFLICT');
    await set('acme', []);
    expect((await set('globex', [claimed])).errors).toEqual([]);
    expect((await set('acme', [dedicated(own)])).code).toBe('CONFLICT');
    await set('globex', []);
    expect((await set('acme', [dedicated(own)])).errors).toEqual([]);
  });

  it('CONFLICT for a value of a shared issuer’s claim that is another tenant’s, and for another claim', async () => {
    expect((await set('acme', [dedicated(own), sharedBy('tenant-acme')])).errors).toEqual([]);
    expect((await set('globex', [sharedBy('tenant-acme')])).code).toBe('CONFLICT');
    const another = dedicated(shared, { tenantClaim: { name: 'tenant', value: 'globex' } });
    expect((await set('globex', [another])).code).toBe('CONFLICT');
    expect((await set('globex', [sharedBy('tenant-globex')])).errors).toEqual([]);
  });

  it('CONFLICT, with the version, where somebody was faster', async () => {
    const { errors } = await set('acme', [], { expectedVersion: 1 });
    expect(errors[0]?.extensions).toMatchObject({ code: 'CONFLICT', currentVersion: 5 });
  });

  it('FORBIDDEN for whoever administers the tenant: who may say who they are is not theirs to say', async () => {
    const answer = await world.acme.admin.run(SET, { input: { issuers: [] } });
    expect(answer.code).toBe('FORBIDDEN');
    expect((await world.acme.member.run(GET)).code).toBe('FORBIDDEN');
  });
});

describe('identityIssuers', () => {
  it('ok: for administrators, and acting operators', async () => {
    const urls = [own.url, shared.url];
    for (const who of [world.acme.admin, actingIn(world, 'acme')]) {
      const { data } = await who.run(GET);
      expect(data.identityIssuers.issuers.map(({ issuer }: { issuer: string }) => issuer)).toEqual(urls);
    }
  });

  it('needs a tenant', () => expectTenantNeeded(world, GET));
});

describe('whoever comes with an issuer’s token', () => {
  const ID = { aud: 'app-1', token_use: 'id', email: 'eva@acme.example', name: 'Eva', auth_time: 1 };
  const eva = async (claims: object = {}) => world.caller(await own.token({ sub: 'eva', ...ID, ...claims }));

  it('is a user of its tenant: by an ID token, and by an access token of Amazon Cognito, which says less', async () => {
    const { data, errors } = await (await eva()).run(VIEWER);
    expect(errors).toEqual([]);
    const viewer = { name: 'Eva', email: 'eva@acme.example', roles: ['MEMBER'], tenant: { id: 'acme' } };
    expect(data.viewer).toMatchObject(viewer);
    const access = await own.token({ sub: 'eva', token_use: 'access', client_id: 'app-1', auth_time: 1 });
    const again = await world.caller(access).run(VIEWER);
    expect(again.data.viewer).toEqual(data.viewer);
    const nameless = await own.token({ sub: 'nameless', token_use: 'access', client_id: 'app-1', auth_time: 1 });
    const { data: unknown } = await world.caller(nameless).run(VIEWER);
    expect(unknown.viewer).toMatchObject({ name: 'nameless', email: null });
  });

  it('has the roles of its groups, and the default where none fits', async () => {
    const roles = async (groups: unknown) => {
      const answer = await (await eva({ sub: 'groups', 'cognito:groups': groups })).run(VIEWER);
      return answer.data.viewer.roles as string[];
    };
    expect(await roles(['admins', 'others'])).toEqual(['TENANT_ADMIN']);
    expect(await roles('admins')).toEqual(['TENANT_ADMIN']);
    expect(await roles(['others', 1, null])).toEqual(['MEMBER']);
    expect(await roles(['PLATFORM_OPERATOR'])).toEqual(['MEMBER']);
  });

  it('owns what they make, and administrators see who they are', async () => {
    const who = await eva();
    await who.createConversation('Eva’s');
    const { data } = await world.acme.admin.run('{ conversations { nodes { title owner { name } } } }');
    expect(data.conversations.nodes).toContainEqual({ title: 'Eva’s', owner: { name: 'Eva' } });
    const users = await world.acme.admin.run('{ users { nodes { email issuer roles status } } }');
    const entry = { email: 'eva@acme.example', issuer: own.url, roles: ['MEMBER'], status: 'ACTIVE' };
    expect(users.data.users.nodes).toContainEqual(entry);
  });

  it('has signed in once, however many tokens come of it: so says usage, and so does the trail', async () => {
    const query = `{ usageSummary(start: "2026-11-20T00:00:00Z", end: "2026-11-21T00:00:00Z") {
      byService { service usage { invocations } }
    } }`;
    const count = async () => {
      const rows = (await world.acme.admin.run(query)).data.usageSummary.byService as {
        service: string;
        usage: { invocations: number };
      }[];
      return rows.find(({ service }) => service === 'IDENTITY')!.usage.invocations;
    };
    const before = await count();
    const max = { sub: 'max', origin_jti: 'sign-in-1' };
    for (const jti of ['a', 'b', 'c']) await (await eva({ ...max, jti })).run(VIEWER);
    const { data } = await (await eva({ ...max, origin_jti: 'sign-in-2' })).run(VIEWER);
    expect(await count()).toBe(before + 2);
    await world.product.recorded();
    const trail = `{ auditLog(filter: { actorId: "${data.viewer.id}" }) { nodes { action result details } } }`;
    const entry = { action: 'session.signIn', result: 'SUCCESS', details: { issuer: own.url } };
    expect((await world.acme.admin.run(trail)).data.auditLog.nodes).toEqual([entry, entry]);
  });

  it('is given no password, and no roles but the issuer’s', async () => {
    const { id } = (await (await eva()).run(VIEWER)).data.viewer;
    for (const mutation of ['resetUserPassword(userId: $id)', 'setUserRoles(input: { userId: $id, roles: [MEMBER] })'])
      expect((await world.acme.admin.run(`mutation($id: ID!) { ${mutation} { user { id } } }`, { id })).code).toBe(
        'CONFLICT',
      );
  });

  it('never acts for another tenant: not by a header, not by a claim', async () => {
    const claims = { tenant: 'globex', 'custom:tenant': 'globex', 'cognito:groups': ['tenant-globex', 'admins'] };
    const who = await eva({ sub: 'mallory', ...claims });
    expect((await who.run(VIEWER)).data.viewer.tenant.id).toBe('acme');
    expect((await who.with({ 'x-tenant-id': 'globex' }).run('{ tenant { id } }')).code).toBe('FORBIDDEN');
    expect((await world.globex.admin.run('{ users { nodes { name } } }')).data.users.nodes).toHaveLength(2);
  });

  it('with an issuer that tenants share is of the one that their claim names; of two, or none, they are of neither', async () => {
    const with_ = async (groups: unknown) =>
      world.caller(await shared.token({ ...ID, 'cognito:groups': groups })).run(VIEWER);
    expect((await with_(['tenant-acme'])).data.viewer).toMatchObject({ tenant: { id: 'acme' }, roles: ['MEMBER'] });
    const { data } = await with_(['tenant-globex', 'admins']);
    expect(data.viewer).toMatchObject({ tenant: { id: 'globex' }, roles: ['TENANT_ADMIN'] });
    const many = Array.from({ length: 21 }, (_, n) => (n === 0 ? 'tenant-acme' : `group-${n}`));
    for (const groups of [
      ['tenant-acme', 'tenant-globex'],
      [],
      undefined,
      ['tenant-hooli'],
      { 0: 'tenant-acme' },
      many,
    ])
      expect((await with_(groups)).code).toBe('UNAUTHENTICATED');
  });

  const forged: Readonly<Record<string, () => Promise<string> | string>> = {
    'no signature (alg none)': () =>
      new UnsecuredJWT({ iss: own.url, sub: 'eva', ...ID }).setExpirationTime('1h').encode(),
    'HS256 with the public key': async () => {
      const { createHmac } = await import('node:crypto');
      const [, payload] = (await own.token({ sub: 'eva', ...ID })).split('.');
      const head = Buffer.from('{"alg":"HS256","kid":"key-1"}').toString('base64url');
      const mac = createHmac('sha256', JSON.stringify(own.publicKey())).update(`${head}.${payload}`);
      return `${head}.${payload}.${mac.digest('base64url')}`;
    },
    'another issuer’s key under this one’s name': async () =>
      own.token({ sub: 'eva', ...ID }, { key: await own.newKey('key-1') }),
    'a key that it brings along': async () => {
      const key = await own.newKey('key-of-mallory');
      return own.token({ sub: 'eva', ...ID }, { key, header: { jwk: key.publicJwk, kid: undefined } });
    },
    'a key at an address that it names': async () => {
      const key = await other.rotate();
      return own.token({ sub: 'eva', ...ID }, { key, header: { jku: `${other.url}/jwks` } });
    },
    'an issuer that no tenant has': () => other.token({ sub: 'eva', ...ID }),
    'an issuer of almost the same name': () => own.token({ iss: `${own.url}/`, sub: 'eva', ...ID }),
    'the issuer of our own tokens': () => own.token({ iss: 'bedrock-graphql', sub: 'eva', ...ID }),
    'no issuer': () => own.token({ iss: undefined, sub: 'eva', ...ID }),
    'another audience': () => own.token({ sub: 'eva', ...ID, aud: 'another-app' }),
    'no audience': () => own.token({ sub: 'eva', ...ID, aud: undefined }),
    'an ID token that names its client only': () =>
      own.token({ sub: 'eva', ...ID, aud: undefined, client_id: 'app-1' }),
    'an access token of another client': () => own.token({ sub: 'eva', token_use: 'access', client_id: 'another-app' }),
    'several audiences, issued to another client': () =>
      own.token({ sub: 'eva', ...ID, aud: ['app-1', 'x'], azp: 'x' }),
    'another use': () => own.token({ sub: 'eva', ...ID, token_use: 'refresh' }),
    'no subject': () => own.token({ ...ID, sub: undefined }),
    'a subject that is a number': () => own.token({ ...ID, sub: 1 }),
    expired: () => own.token({ sub: 'eva', ...ID, iat: 1_000, exp: 2_000 }),
    altered: async () => {
      const [head, payload = '', signature] = (await own.token({ sub: 'eva', ...ID })).split('.');
      const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object;
      const admin = Buffer.from(JSON.stringify({ ...claims, 'cognito:groups': ['admins'] })).toString('base64url');
      return [head, admin, signature].join('.');
    },
  };

  it.each(Object.entries(forged))(
    'is refused with a token of %s, without a hint, over HTTP and on a socket',
    async (_what, make) => {
      const authorization = `Bearer ${await make()}`;
      const answer = await world.nobody.with({ authorization }).run(VIEWER);
      expect(answer).toMatchObject({ status: 401, data: null, errors: [{ message: REFUSED }] });
      expect(answer.errors[0]?.extensions).toEqual({ code: 'UNAUTHENTICATED' });
      const { send, closed } = await openSocket(world.wsUrl);
      send({ type: 'connection_init', payload: { authorization } });
      expect(await closed).toEqual({ code: 4403, reason: 'Forbidden' });
    },
  );

  /** A socket with a subscription of an administrator who came with a token of `acme`'s issuer. */
  async function watch() {
    const token = await own.token({ sub: 'watcher', ...ID, 'cognito:groups': ['admins'] });
    const socket = await openSocket(world.wsUrl);
    expect(await socket.init({ authorization: `Bearer ${token}` })).toMatchObject({ type: 'connection_ack' });
    socket.subscribe('watch', 'subscription { liveUsage { activeGenerations } }');
    const first = socket.next();
    await pass(2);
    expect(await first).toMatchObject({ type: 'next', payload: { data: { liveUsage: {} } } });
    const who = world.caller(token);
    return { socket, who, id: (await who.run(VIEWER)).data.viewer.id as string };
  }

  async function expectEnded({ socket, who }: Awaited<ReturnType<typeof watch>>) {
    await pass();
    const over = (await socket.until('complete')).filter(({ type }) => type === 'next').at(-1);
    expect(over?.payload.errors[0].extensions).toEqual({ code: 'UNAUTHENTICATED' });
    expect(await socket.closed).toMatchObject({ code: 4403 });
    expect(await who.run(VIEWER)).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
  }

  it('is out within 30 s once they are disabled, also in the middle of a subscription, and back once they are enabled', async () => {
    const watching = await watch();
    const change = (mutation: string) =>
      world.acme.admin.run(`mutation($id: ID!) { ${mutation}(userId: $id) { user { status } } }`, { id: watching.id });
    expect((await change('disableUser')).data.disableUser.user.status).toBe('DISABLED');
    await expectEnded(watching);
    expect((await change('enableUser')).data.enableUser.user.status).toBe('ACTIVE');
    await pass(26);
    expect((await watching.who.run(VIEWER)).status).toBe(200);
  });

  it.each<[string, object[]]>([
    ['the tenant has left the issuer', []],
    ['the token’s audience is not accepted any more', [{ audiences: ['app-2'] }]],
    ['its group has another role', [{ roles: [] }]],
  ])('is out within 30 s once %s, also in the middle of a subscription', async (_what, issuers) => {
    await set('acme', [dedicated(own)]);
    const watching = await watch();
    const changed = issuers.map((change) => dedicated(own, change));
    expect((await set('acme', changed)).errors).toEqual([]);
    const { who } = watching;
    await pass();
    const over = (await watching.socket.until('complete')).filter(({ type }) => type === 'next').at(-1);
    expect(over?.payload.errors[0].extensions).toEqual({ code: 'UNAUTHENTICATED' });
    expect(await watching.socket.closed).toMatchObject({ code: 4403 });
    const now = await who.run(VIEWER);
    expect(now.data?.viewer.roles ?? now.code).not.toContain('TENANT_ADMIN');
    await set('acme', [dedicated(own)]);
  });
});
