import type { Clock } from '../../kernel/clock.ts';
import { pageOf } from '../../kernel/page.ts';
import type { Cursors } from '../../tenancy/cursor.ts';
import type { StoredPasswordToken } from '../../tenancy/password-token.ts';
import { isActiveAdmin, type Standing, type UserAccount } from '../../users/model.ts';
import type { UserDirectory } from '../../users/ports.ts';
import type { TenantRows } from './conversation-store.ts';
import { absent, anyOf, below, equals, present } from './expressions.ts';
import type { Item } from './table.ts';
import { createUserRows, ENABLED, userAccount, type UserRow } from './user-rows.ts';

/** Besides its version: who may be an active administrator, by user id, and the version they were entered with. */
interface RosterRow extends Item {
  readonly version?: number;
}

const LIST = 'users';
/** So many others would have to change users of the same tenant between a read and its write, one after the other. */
const TRIES = 20;

const tokenOf = ({ hash, expiresAt }: StoredPasswordToken) => ({ tokenHash: hash, tokenUntil: expiresAt });

/**
 * Administration of one tenant's users. That somebody of several always remains an administrator cannot be a condition of one
 * user's row. So every change first takes the next version of the tenant's roster, of all changes one at a time, and whoever
 * removes an administrator has seen another one, by their own row, since the roster had the version before. A crash between
 * the two writes leaves somebody in or out of the roster who is not, or is, an administrator: the first is not counted,
 * because their row does not say so, and the second only makes the check stricter until they are changed again.
 */
export function createUserDirectory(rows: TenantRows, cursors: Cursors, clock: Clock): UserDirectory {
  const { tenantId, table, keys } = rows;
  const users = createUserRows(rows);
  const accountOf = (row: UserRow): UserAccount => userAccount(tenantId, row);

  /** Whether anybody but this user is an active administrator, and has been since they were entered. */
  async function hasAnotherAdmin(roster: RosterRow | null, userId: string): Promise<boolean> {
    const others = Object.keys(roster ?? {}).filter((name) => name.startsWith('user-') && name !== userId);
    const found = await table.getMany<UserRow>(others.map(keys.user), true);
    return found.some((row) => row && isActiveAdmin(accountOf(row)) && (row.roster ?? 0) >= Number(roster?.[row.id]));
  }

  /** Takes the next version of the roster, in which the user is entered or not. Null when somebody else was faster. */
  async function enterRoster(roster: RosterRow | null, userId: string, admin: boolean): Promise<number | null> {
    const version = (roster?.version ?? 0) + 1;
    const changes = admin ? { set: { version, [userId]: version } } : { set: { version }, remove: [userId] };
    const unchanged = roster ? equals('version', roster.version) : absent('version');
    return (await table.update(keys.roster(), changes, unchanged)).done ? version : null;
  }

  async function writeStanding(row: UserRow, { roles, status }: Standing, version: number): Promise<UserRow | null> {
    const state =
      status === 'ACTIVE' && row.passwordHash === undefined && row.issuer === undefined ? 'INVITED' : status;
    const token = state === 'DISABLED' ? ['tokenHash', 'tokenUntil'] : [];
    const changes = {
      set: { roles, roster: version, ...(state !== 'ACTIVE' && { state }) },
      ...(state === 'DISABLED' && { add: { credentialVersion: 1 } }), // whoever is signing in right now is not let in when enabled again
      remove: [...(state === 'ACTIVE' ? ['state'] : []), ...token],
    };
    const latest = anyOf(absent('roster'), below('roster', version));
    const result = await table.update<UserRow>(keys.user(row.id), changes, present('PK'), latest);
    return result.done ? result.item : result.current; // whoever took a later version has written already
  }

  return {
    async get(id) {
      const row = await users.read(id);
      return row && accountOf(row);
    },

    async findByEmail(email) {
      const row = await users.findByEmail(email);
      return row && accountOf(row);
    },

    async page(request) {
      const { direction, size } = request;
      const cursor = cursors.open(LIST, request);
      const forward = direction === 'forward';
      const found = await table.take<UserRow>(
        {
          ...keys.allUsers(),
          descending: !forward,
          ...(cursor !== null && (forward ? { after: cursor } : { before: cursor })),
        },
        size + 1,
      );
      const more = found.length > size;
      const edges = found
        .slice(0, size)
        .map((row) => ({ cursor: cursors.seal(LIST, `${row.email ?? ''}#${row.id}`), node: accountOf(row) }));
      return forward
        ? pageOf(edges, { hasNextPage: more, hasPreviousPage: cursor !== null })
        : pageOf(edges.reverse(), { hasNextPage: cursor !== null, hasPreviousPage: more });
    },

    invite({ id, name, email, roles }, token) {
      if (email === null) throw new Error('Nobody is invited without an address.');
      return users.add({ id, name, email, roles, state: 'INVITED', ...tokenOf(token) }, clock.now());
    },

    async setToken(id, token, name) {
      const changes = { set: { ...tokenOf(token), name } };
      const result = await table.update<UserRow>(keys.user(id), changes, present('PK'), ENABLED);
      return result.done ? accountOf(result.item) : null;
    },

    async change(id, next) {
      for (let tries = 0; tries < TRIES; tries++) {
        const read = await table.getMany<Item>([keys.roster(), keys.user(id)], true);
        const [roster, row] = read as [RosterRow | null, UserRow | null];
        if (!row) return 'ABSENT';
        const user = accountOf(row);
        const wanted = next(user);
        if (JSON.stringify([wanted.roles, wanted.status]) === JSON.stringify([user.roles, user.status])) return user;
        // Whom an issuer makes an administrator it can take back at any time.
        const isOwn = user.issuer === null;
        if (isOwn && isActiveAdmin(user) && !isActiveAdmin(wanted) && !(await hasAnotherAdmin(roster, id)))
          return 'LAST_ADMIN';
        const admin = isOwn && wanted.roles.includes('TENANT_ADMIN') && wanted.status !== 'DISABLED';
        const version = await enterRoster(roster, id, admin);
        const written = version === null ? null : await writeStanding(row, wanted, version);
        if (written) return accountOf(written);
      }
      throw new Error('The users of a tenant are changed by too many at once.');
    },
  };
}
