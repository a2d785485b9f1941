import type { PasswordStore } from '../../auth/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { TenantRows } from './conversation-store.ts';
import { above, equals } from './expressions.ts';
import { accountOf, createUserRows, ENABLED, type UserRow } from './user-rows.ts';

const TOKEN = ['tokenHash', 'tokenUntil'];

export function createPasswordStore(rows: TenantRows, clock: Clock): PasswordStore {
  const { table, keys } = rows;
  const users = createUserRows(rows);
  return {
    async get(userId) {
      const row = await users.read(userId);
      return row && accountOf(row);
    },
    async waiting(userId) {
      const row = await users.read(userId);
      if (!row?.tokenHash || row.state === 'DISABLED') return null;
      const { name, email, tokenHash: hash, tokenUntil: expiresAt = 0 } = row;
      if (email === null) return null; // whoever chooses a password has an address to sign in with
      return { name, email, token: { hash, expiresAt } };
    },
    async redeem(userId, tokenHash, passwordHash) {
      const result = await table.update<UserRow>(
        keys.user(userId),
        { set: { passwordHash }, add: { credentialVersion: 1 }, remove: [...TOKEN, 'state'] },
        equals('tokenHash', tokenHash),
        above('tokenUntil', clock.now()),
        ENABLED,
      );
      return result.done ? accountOf(result.item) : null;
    },
    async replacePassword(userId, before, passwordHash) {
      const changes = { set: { passwordHash }, add: { credentialVersion: 1 }, remove: TOKEN };
      const result = await table.update<UserRow>(keys.user(userId), changes, equals('passwordHash', before), ENABLED);
      return result.done ? accountOf(result.item) : null;
    },
  };
}
