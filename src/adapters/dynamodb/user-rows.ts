import { isoTime } from '../../kernel/clock.ts';
import { ulidTime } from '../../kernel/ids.ts';
import { normalisedEmail } from '../../tenancy/names.ts';
import type { Role } from '../../tenancy/principal.ts';
import type { TenantId } from '../../tenancy/tenant-id.ts';
import type { UserAccount } from '../../users/model.ts';
import type { Account } from '../../auth/model.ts';
import { absent, anyOf, equals, type Condition } from './expressions.ts';
import type { Item } from './table.ts';
import type { TenantRows } from './conversation-store.ts';

export interface UserRow extends Item {
  readonly id: string;
  readonly name: string;
  /** Null: the issuer does not say it. */
  readonly email: string | null;
  readonly roles: readonly Role[];
  /** Left out: active. The lists show it. */
  readonly state?: 'INVITED' | 'DISABLED';
  /** Left out: nobody has chosen one yet. */
  readonly passwordHash?: string;
  /** See `Account`. */
  readonly credentialVersion?: number;
  /** With this the user may choose a password once, until then. */
  readonly tokenHash?: string;
  readonly tokenUntil?: number;
  /** Of somebody who comes with an issuer's tokens: who they are there, and when they first came. The lists show the issuer. */
  readonly issuer?: string;
  readonly subject?: string;
  readonly createdAt?: string;
  /** The version of the roster that the roles and the state were written with; left out: before any change. */
  readonly roster?: number;
}

interface AddressRow extends Item {
  readonly uid: string;
  readonly pendingUntil?: number;
}

/** How long an address stays taken by a registration that died before it stored its user, in milliseconds. */
const PENDING_MS = 5 * 60 * 1000;
const ID_PREFIX = 'user-';

export const userAccount = (tenantId: TenantId, row: UserRow): UserAccount => ({
  ...{ tenantId, id: row.id, name: row.name, email: row.email, roles: row.roles },
  ...{ status: row.state ?? 'ACTIVE', issuer: row.issuer ?? null },
  createdAt: row.createdAt ?? isoTime(ulidTime(row.id.slice(ID_PREFIX.length))),
});

/** Whoever is not disabled. */
export const ENABLED: Condition = anyOf(absent('state'), equals('state', 'INVITED'));

/** Somebody who can sign in; null for who has not chosen a password yet. */
export const accountOf = (row: UserRow): Account | null => {
  const { id, name, email, roles, state, passwordHash, credentialVersion } = row;
  if (passwordHash === undefined || email === null) return null;
  const disabled = state === 'DISABLED' && { disabled: true };
  const version = credentialVersion !== undefined && { credentialVersion };
  return { userId: id, name, email, roles, passwordHash, ...disabled, ...version };
};

export type UserRows = ReturnType<typeof createUserRows>;

/** The rows of one tenant's users, and the addresses they hold: an address has one user. */
export function createUserRows({ table, keys }: TenantRows) {
  const read = (userId: string) => table.get<UserRow>(keys.user(userId));

  async function takeAddress(email: string, userId: string, nowMs: number): Promise<boolean> {
    const key = keys.email(email);
    const pending = { uid: userId, pendingUntil: nowMs + PENDING_MS };
    const taken = await table.create<AddressRow>(key, pending);
    const holder = taken.done ? null : taken.current;
    if (taken.done || holder?.uid === userId) return true;
    if (!holder) return false;
    if (holder.pendingUntil === undefined || holder.pendingUntil > nowMs || (await read(holder.uid))) return false;
    const overtaken = await table.update(
      key,
      { set: pending },
      equals('uid', holder.uid),
      equals('pendingUntil', holder.pendingUntil),
    );
    return overtaken.done;
  }

  return {
    read,

    async findByEmail(email: string): Promise<UserRow | null> {
      const lock = await table.get<AddressRow>(keys.email(normalisedEmail(email)));
      return lock && read(lock.uid);
    },

    /** Stores a user unless somebody else has the address. Doing it again finishes what a crash left half done. */
    async add(user: UserRow & { readonly email: string }, nowMs: number): Promise<boolean> {
      const { id, roles } = user;
      const email = normalisedEmail(user.email);
      // The address is taken first, for a while, and for good only once the user exists: a crash in between frees it again.
      if (!(await takeAddress(email, id, nowMs))) return false;
      if (roles.includes('TENANT_ADMIN')) await table.update(keys.roster(), { set: { [id]: 0 }, add: { version: 1 } });
      await table.create(keys.user(id), { ...user, email, v: 1, ...keys.listedUser(id, email) });
      const confirmed = await table.update(keys.email(email), { remove: ['pendingUntil'] }, equals('uid', id));
      if (!confirmed.done) await table.remove(keys.user(id)); // it took too long, and another was faster
      return confirmed.done;
    },
  };
}
