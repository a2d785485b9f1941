import type { PasswordStore } from '../../auth/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { TenantRows } from './conversation-store.ts';
import { above, equals } from './expressions.ts';
import { accountOf, createUserRows, ENABLED } from './user-rows.ts';

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
      return { name, email, token: { hash, expiresAt } };
    },
    async redeem(userId, tokenHash, passwordHash) {
      const result = await table.update(
        keys.user(userId),
        { set: { passwordHash }, remove: [...TOKEN, 'state'] },
        equals('tokenHash', tokenHash),
        above('tokenUntil', clock.now()),
        ENABLED,
      );
      return result.done;
    },
    async replacePassword(userId, before, passwordHash) {
      const changes = { set: { passwordHash }, remove: TOKEN };
      return (await table.update(keys.user(userId), changes, equals('passwordHash', before), ENABLED)).done;
    },
  };
}
