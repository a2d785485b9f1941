import type { Account } from '../../auth/model.ts';
import type { AccountStore, SessionStore } from '../../auth/ports.ts';
import type { User } from '../../users/model.ts';
import type { UserStore } from '../../users/ports.ts';
import { equals } from './expressions.ts';
import type { Item } from './table.ts';
import type { TenantRows } from './conversation-store.ts';

interface UserRow extends Item {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly roles: Account['roles'];
  readonly passwordHash: string;
}

/** How long an address stays taken by a registration that died before it stored its user, in milliseconds. */
const PENDING_MS = 5 * 60 * 1000;

const normalised = (email: string): string => email.trim().toLowerCase();

const accountOf = ({ id, name, email, roles, passwordHash }: UserRow): Account => ({
  userId: id,
  name,
  email,
  roles,
  passwordHash,
});

/** The users of one tenant, or of the platform. */
export function createUserStore({ tenantId, table, keys }: TenantRows): UserStore &
  AccountStore & {
    /** Stores a user unless the address is taken. False when it is: nothing is changed then. */
    register(account: Account, nowMs: number): Promise<boolean>;
  } {
  const userOf = ({ id, name, email, roles }: UserRow): User => ({ tenantId, id, name, email, roles });
  const get = async (userId: string) => {
    const row = await table.get<UserRow>(keys.user(userId));
    return row && accountOf(row);
  };

  return {
    get,
    async getMany(ids) {
      const found = await table.getMany<UserRow>(ids.map(keys.user));
      return found.map((row) => row && userOf(row));
    },
    async findByEmail(email) {
      const lock = await table.get<Item & { uid: string }>(keys.email(normalised(email)));
      return lock && get(lock.uid);
    },
    async register(account, nowMs) {
      const { userId, name, roles, passwordHash } = account;
      const email = normalised(account.email);
      // The address is taken first and for good only once the user exists, so that a crash in between frees it again.
      const lock = keys.email(email);
      const taken = await table.create(lock, { uid: userId, ttl: Math.ceil((nowMs + PENDING_MS) / 1000) });
      if (!taken.done) return false;
      const row = { id: userId, name, email, roles, passwordHash, v: 1, ...keys.listedUser(userId, email) };
      await table.create(keys.user(userId), row);
      await table.update(lock, { remove: ['ttl'] }, equals('uid', userId));
      return true;
    },
  };
}

export function createSessionStore({ table, keys }: TenantRows): SessionStore {
  const ttl = (ms: number): number => Math.ceil(ms / 1000);
  return {
    async create({ userId, sessionId, secretHash, expiresAt }) {
      await table.create(keys.session(userId, sessionId), { secretHash, ttl: ttl(expiresAt), v: 1 });
    },
    async rotate({ userId, sessionId, secretHash, expiresAt }, oldHash) {
      const key = keys.session(userId, sessionId);
      const current = await table.get(key); // also hides a session past its time that DynamoDB has not deleted yet
      if (!current) return false;
      const result = await table.update(
        key,
        { set: { secretHash, ttl: ttl(expiresAt) } },
        equals('secretHash', oldHash),
      );
      return result.done;
    },
    remove: (userId, sessionId) => table.remove(keys.session(userId, sessionId)),
  };
}
