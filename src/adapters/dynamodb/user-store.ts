import type { Account } from '../../auth/model.ts';
import type { AccountStore, SessionStore } from '../../auth/ports.ts';
import type { Administrator } from '../../tenants/ports.ts';
import type { User } from '../../users/model.ts';
import { isApiKeyId } from '../../tenancy/api-key.ts';
import type { UserStore } from '../../users/ports.ts';
import { equals } from './expressions.ts';
import type { Key } from './keys.ts';
import type { Item } from './table.ts';
import type { TenantRows } from './conversation-store.ts';
import { accountOf, createUserRows, type UserRow } from './user-rows.ts';

/** A user, or an API key, which is one without an address and with a role of its own. */
type OwnerRow = Item & Pick<UserRow, 'id' | 'name'> & Partial<Pick<UserRow, 'email' | 'roles'>>;

/** The users of one tenant, or of the platform. */
export function createUserStore(rows: TenantRows): UserStore &
  AccountStore & {
    /** Stores a user unless somebody else has the address. False when they have: nothing is changed then. Doing it again finishes what a crash left half done. */
    register(account: Account, nowMs: number): Promise<boolean>;
    /** The first administrator, as they are now; stored if they are not there yet. */
    ensureAdministrator(
      admin: Administrator & { readonly passwordHash: string },
      nowMs: number,
    ): Promise<Administrator>;
  } {
  const { tenantId, table, keys } = rows;
  const users = createUserRows(rows);
  const userOf = ({ id, name, email, roles }: OwnerRow): User => ({
    ...{ tenantId, id, name, email: email ?? null, roles: roles ?? ['PARTNER'] },
  });

  return {
    async get(userId) {
      const row = await users.read(userId);
      return row && accountOf(row);
    },
    async findByEmail(email) {
      const row = await users.findByEmail(email);
      return row && accountOf(row);
    },
    register: ({ userId, name, email, roles, passwordHash }, nowMs) =>
      users.add({ id: userId, name, email, roles, passwordHash }, nowMs),
    async ensureAdministrator({ id, name, email, passwordHash }, nowMs) {
      const known = await users.read(id);
      if (!known && !(await users.add({ id, name, email, roles: ['TENANT_ADMIN'], passwordHash }, nowMs)))
        throw new Error('Somebody else has the address of the first administrator.');
      return { id, name: known?.name ?? name, email: known?.email ?? email };
    },
    async getMany(ids) {
      const found = await table.getMany<OwnerRow>(ids.map((id) => (isApiKeyId(id) ? keys.apiKey(id) : keys.user(id))));
      return found.map((row) => row && userOf(row));
    },
  };
}

interface SessionRow extends Item {
  readonly familyHash: string;
  readonly secretHash: string;
  readonly credentialVersion?: number;
}

export function createSessionStore({ table, keys }: TenantRows): SessionStore {
  const ttl = (ms: number): number => Math.ceil(ms / 1000);
  return {
    async create({ userId, sessionId, familyHash, secretHash, credentialVersion = 0, expiresAt }) {
      const row = { familyHash, secretHash, credentialVersion, ttl: ttl(expiresAt), v: 1 };
      await table.create(keys.session(userId, sessionId), row);
    },
    async rotate({ userId, sessionId, familyHash, secretHash, expiresAt }, presented) {
      const key = keys.session(userId, sessionId);
      const current = await table.get<SessionRow>(key); // also hides one past its time that DynamoDB has not deleted yet
      if (current?.familyHash !== familyHash) return 'UNKNOWN';
      const changes = { set: { secretHash, ttl: ttl(expiresAt) } };
      const result = await table.update<SessionRow>(key, changes, equals('secretHash', presented));
      if (result.done) return 'ROTATED';
      return result.current ? 'REUSED' : 'UNKNOWN'; // it was ended meanwhile
    },
    remove: (userId, sessionId) => table.remove(keys.session(userId, sessionId)),
    async accountOf(userId, sessionId) {
      const rows = await table.getMany<Item>([keys.user(userId), keys.session(userId, sessionId)], true);
      const [user, session] = rows as [UserRow | null, SessionRow | null];
      if (!user || !session || (user.credentialVersion ?? 0) !== (session.credentialVersion ?? 0)) return null;
      return accountOf(user);
    },
    async removeAll(userId) {
      const found: Key[] = [];
      for await (const { PK, SK } of table.rows<Item & Key>({ ...keys.sessionsOf(userId), keysOnly: true }))
        found.push({ PK, SK });
      await table.removeMany(found);
    },
  };
}
