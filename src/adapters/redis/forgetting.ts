import type { RedisConnection } from './connection.ts';

/** Keys looked at by one command: Redis does nothing else meanwhile. */
const KEYS_AT_ONCE = 1_000;

/** Removes the keys that fit a pattern, by looking at all keys there are. */
export async function forgetTenant({ commands }: Pick<RedisConnection, 'commands'>, pattern: string): Promise<void> {
  let cursor = '0';
  do {
    const [next, keys] = await commands.scan(cursor, 'MATCH', pattern, 'COUNT', KEYS_AT_ONCE);
    if (keys.length > 0) await commands.unlink(...keys);
    cursor = next;
  } while (cursor !== '0');
}
