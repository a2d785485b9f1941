import type { Account } from '../../auth/model.ts';
import type { AccountStore, SessionStore } from '../../auth/ports.ts';
import type { Administrator } from '../../tenants/ports.ts';
import type { User } from '../../users/model.ts';
import type { UserStore } from '../../users/ports.ts';
import { normalisedEmail } from '../../tenancy/names.ts';
import { equals } from './expressions.ts';
import type { Item } from './table.ts';
import type { TenantRows } from './conversation-store.ts';

interface UserRow extends Item {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly roles: Account['roles'];
  readonly passwordHash: string;
  readonly disabled?: boolean;
}

interface AddressRow extends Item {
  readonly uid: string;
  readonly pendingUntil?: number;
}

/** How long an address stays taken by a registration that died before it stored its user, in milliseconds. */
const PENDING_MS = 5 * 60 * 1000;

const accountOf = ({ id, name, email, roles, passwordHash, disabled }: UserRow): Account => ({
  userId: id,
  name,
  email,
  roles,
  passwordHash,
  ...(disabled && { disabled }),
});

/** The users of one tenant, or of the platform. */
export function createUserStore({ tenantId, table, keys }: TenantRows): UserStore &
  AccountStore & {
    /** Stores a user unless somebody else has the address. False when they have: nothing is changed then. Doing it again finishes what a crash left half done. */
    register(account: Account, nowMs: number): Promise<boolean>;
    /** The first administrator, as they are now; stored if they are not there yet. */
    ensureAdministrator(
      admin: Administrator & { readonly passwordHash: string },
      nowMs: number,
    ): Promise<Administrator>;
  } {
  const userOf = ({ id, name, email, roles }: UserRow): User => ({ tenantId, id, name, email, roles });
  const get = async (userId: string) => {
    const row = await table.get<UserRow>(keys.user(userId));
    return row && accountOf(row);
  };

  async function takeAddress(email: string, userId: string, nowMs: number): Promise<boolean> {
    const key = keys.email(email);
    const pending = { uid: userId, pendingUntil: nowMs + PENDING_MS };
    const taken = await table.create<AddressRow>(key, pending);
    const holder = taken.done ? null : taken.current;
    if (taken.done || holder?.uid === userId) return true;
    if (!holder) return false;
    if (holder.pendingUntil === undefined || holder.pendingUntil > nowMs || (await get(holder.uid))) return false;
    const overtaken = await table.update(
      key,
      { set: pending },
      equals('uid', holder.uid),
      equals('pendingUntil', holder.pendingUntil),
    );
    return overtaken.done;
  }

  async function register(account: Account, nowMs: number): Promise<boolean> {
    const { userId, name, roles, passwordHash } = account;
    const email = normalisedEmail(account.email);
    // The address is taken first, for a while, and for good only once the user exists: a crash in between frees it again.
    if (!(await takeAddress(email, userId, nowMs))) return false;
    const row = { id: userId, name, email, roles, passwordHash, v: 1, ...keys.listedUser(userId, email) };
    await table.create(keys.user(userId), row);
    const confirmed = await table.update(keys.email(email), { remove: ['pendingUntil'] }, equals('uid', userId));
    if (!confirmed.done) await table.remove(keys.user(userId)); // it took too long, and another was faster
    return confirmed.done;
  }

  return {
    get,
    register,
    async ensureAdministrator({ id, name, email, passwordHash }, nowMs) {
      const account = { userId: id, name, email, roles: ['TENANT_ADMIN'], passwordHash } as const;
      const known = await get(id);
      if (!known && !(await register(account, nowMs)))
        throw new Error('Somebody else has the address of the first administrator.');
      return { id, name: known?.name ?? name, email: known?.email ?? email };
    },
    async getMany(ids) {
      const found = await table.getMany<UserRow>(ids.map(keys.user));
      return found.map((row) => row && userOf(row));
    },
    async findByEmail(email) {
      const lock = await table.get<AddressRow>(keys.email(normalisedEmail(email)));
      return lock && get(lock.uid);
    },
  };
}

interface SessionRow extends Item {
  readonly familyHash: string;
  readonly secretHash: string;
}

export function createSessionStore({ table, keys }: TenantRows): SessionStore {
  const ttl = (ms: number): number => Math.ceil(ms / 1000);
  return {
    async create({ userId, sessionId, familyHash, secretHash, expiresAt }) {
      await table.create(keys.session(userId, sessionId), { familyHash, secretHash, ttl: ttl(expiresAt), v: 1 });
    },
    async rotate({ userId, sessionId, familyHash, secretHash, expiresAt }, presented) {
      const key = keys.session(userId, sessionId);
      const current = await table.get<SessionRow>(key); // also hides one past its time that DynamoDB has not deleted yet
      if (current?.familyHash !== familyHash) return 'UNKNOWN';
      const changes = { set: { secretHash, ttl: ttl(expiresAt) } };
      const result = await table.update<SessionRow>(key, changes, equals('secretHash', presented));
      return result.done ? 'ROTATED' : 'REUSED';
    },
    remove: (userId, sessionId) => table.remove(keys.session(userId, sessionId)),
    async accountOf(userId, sessionId) {
      const rows = await table.getMany<UserRow>([keys.user(userId), keys.session(userId, sessionId)], true);
      const [user, session] = rows;
      return user && session ? accountOf(user) : null;
    },
  };
}
