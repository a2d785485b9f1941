import { isTerminal } from '../../conversations/model.ts';
import type { StreamLog } from '../../conversations/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { TenantId } from '../../tenancy/tenant-id.ts';
import { KEPT_AFTER_END_MS, type MemoryStreamLogs } from '../memory/stream-log.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys, StreamKeys } from './keys.ts';
import { createStreamCopies } from './stream-copies.ts';
import { createStreamFeeds } from './stream-feeds.ts';
import { createStreamReader } from './stream-reader.ts';
import { createStreamStore } from './stream-store.ts';

export interface RedisStreamLogs {
  forTenant(tenantId: TenantId): StreamLog;
  /** Resolves when everything this process wrote is in Redis, as far as Redis is there. */
  settled(): Promise<void>;
  /** Streams of other processes that are listened to here at the moment. */
  listening(): number;
}

export interface RedisStreamLogsDependencies {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly clock: Clock;
  readonly local: MemoryStreamLogs;
}

/**
 * Every instance reads every stream. The process that writes one has it in memory, and whoever reads it there reads it from memory:
 * an outage of Redis never reaches them. Redis holds a copy for the readers on other instances, who break off while it is away.
 */
export function createRedisStreamLogs({
  connection,
  keys,
  clock,
  local,
}: RedisStreamLogsDependencies): RedisStreamLogs {
  const store = createStreamStore(connection, KEPT_AFTER_END_MS);
  const copies = createStreamCopies({ connection, store, local, clock });
  const feeds = createStreamFeeds(connection, clock);

  async function readRemote(at: StreamKeys, after: number) {
    const reader = createStreamReader({
      after,
      fetch: (place) => store.read(at, place),
      onEnd: () => feeds.leave(at.channel, reader),
    });
    // Listening first, so that nothing falls between what is read and what is heard.
    const joined = await feeds.join(at.channel, reader).then(
      () => true,
      () => reader.breakOff(),
    );
    return joined && (await reader.begin()) ? reader.events : null;
  }

  function forTenant(tenantId: TenantId): StreamLog {
    const own = local.forTenant(tenantId);
    const isOwn = (messageId: string) => local.held(tenantId, messageId) !== null;
    const keysOf = (messageId: string) => keys.stream(tenantId, messageId);

    return {
      async open(messageId) {
        await own.open(messageId);
        const at = keysOf(messageId);
        if (at) await copies.update(tenantId, messageId, at);
      },
      async append(messageId, event) {
        const at = keysOf(messageId);
        if (!at) return own.append(messageId, event);
        if (!isOwn(messageId)) return isTerminal(event) ? copies.end(at, event) : undefined;
        await own.append(messageId, event);
        const copied = copies.update(tenantId, messageId, at);
        if (!isTerminal(event)) return; // the turn waits for its end to be told everywhere, not for every word
        clock.after(KEPT_AFTER_END_MS, () => copies.forget(at));
        await copied;
      },
      async read(messageId, after) {
        const live = await own.read(messageId, after);
        const at = keysOf(messageId);
        return live ?? (at && connection.ready() ? readRemote(at, after) : null);
      },
      async progress(messageId) {
        const progress = await own.progress(messageId);
        const at = keysOf(messageId);
        return progress ?? (at && connection.ready() ? store.progress(at).catch(() => null) : null);
      },
      async withhold(messageId) {
        await own.withhold(messageId);
        const at = keysOf(messageId);
        if (!at) return;
        if (isOwn(messageId)) await copies.update(tenantId, messageId, at);
        else if (connection.ready()) await store.withhold(at, null).catch(() => {});
      },
      async leave(messageId) {
        const at = keysOf(messageId);
        if (at) copies.forget(at);
        await own.leave(messageId);
      },
    };
  }

  return { forTenant, settled: () => copies.settled(), listening: () => feeds.count() };
}
