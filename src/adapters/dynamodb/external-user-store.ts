import type { ExternalUserStore } from '../../federation/ports.ts';
import { isoTime, type Clock } from '../../kernel/clock.ts';
import { ulid } from '../../kernel/ids.ts';
import type { TenantRows } from './conversation-store.ts';
import { present } from './expressions.ts';
import type { Item } from './table.ts';
import { createUserRows, type UserRow } from './user-rows.ts';

/** Longer than any issuer's refresh token is used in one go; a sign-in that comes back after that is another one. */
const SIGN_IN_KEPT_MS = 90 * 86_400_000;

interface SignInRow extends Item {
  readonly signIn: string;
  readonly counted?: boolean;
}

/** Users without a password or an address of their own: two may have the same one, since neither signs in with it here. */
export function createExternalUserStore(rows: TenantRows, clock: Clock): ExternalUserStore {
  const { table, keys } = rows;
  const users = createUserRows(rows);
  const shown = ({ name, email, state }: UserRow) => ({ name, email, disabled: state === 'DISABLED' });

  return {
    async see({ userId: id, issuer, subject, roles, ...said }) {
      const known = await users.read(id);
      const email = said.email ?? known?.email ?? null;
      const name = said.name ?? known?.name ?? email ?? subject;
      const listed = keys.listedUser(id, email ?? '');
      if (!known) {
        const row = { id, name, email, roles, issuer, subject, createdAt: isoTime(clock.now()), v: 1, ...listed };
        const created = await table.create<UserRow>(keys.user(id), row);
        return shown(created.done ? created.item : (created.current ?? row));
      }
      const same = JSON.stringify([name, email, roles]) === JSON.stringify([known.name, known.email, known.roles]);
      if (same) return shown(known);
      const changed = await table.update<UserRow>(
        keys.user(id),
        { set: { name, email, roles, ...listed } },
        present('PK'),
      );
      return shown(changed.done ? changed.item : known);
    },

    async known(userId) {
      const row = await users.read(userId);
      return row && shown(row);
    },

    async signIn(userId, name) {
      const key = keys.externalSignIn(userId, name);
      const known = await table.get<SignInRow>(key);
      if (known) return { id: known.signIn, first: false, counted: known.counted === true };
      const ttl = Math.ceil((clock.now() + SIGN_IN_KEPT_MS) / 1000);
      const created = await table.create<SignInRow>(key, { signIn: ulid(clock.now()), ttl, v: 1 });
      const row = created.done ? created.item : created.current;
      if (!row) throw new Error('The sign-in was removed while it was being stored.');
      return { id: row.signIn, first: created.done, counted: row.counted === true };
    },

    async counted(userId, name) {
      await table.update(keys.externalSignIn(userId, name), { set: { counted: true } }, present('PK'));
    },
  };
}
