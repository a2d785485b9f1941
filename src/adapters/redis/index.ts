import type { OpenAttemptCounter } from '../../auth/ports.ts';
import type { GenerationSlots, TurnSignals } from '../../conversations/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { TenantId } from '../../tenancy/tenant-id.ts';
import type { RateLimiter } from '../../tenants/ports.ts';
import type { UsageChanges } from '../../usage/ports.ts';
import { createMemoryRateLimiter } from '../memory/rate-limiter.ts';
import { createMemoryStreamLogs } from '../memory/stream-log.ts';
import { createMemoryUsageChanges } from '../memory/usage-changes.ts';
import { createRedisAttemptCounters } from './attempt-counters.ts';
import { createRedisConnection, type RedisLog } from './connection.ts';
import { createRedisGenerationSlots } from './generation-slots.ts';
import { forgetTenant } from './forgetting.ts';
import { createInstances } from './instances.ts';
import { redisKeys } from './keys.ts';
import { createRedisRateLimiter } from './rate-limiter.ts';
import { createRedisStreamLogs, type RedisStreamLogs } from './stream-log.ts';
import { createRedisTurnSignals } from './turn-signals.ts';
import { createRedisUsageChanges } from './usage-changes.ts';

export interface RedisOptions {
  /** `redis://` or `rediss://`. */
  readonly url: string;
  /** The name of the installation: all its keys begin with it. Letters, digits, `.`, `_` and `-`. */
  readonly prefix: string;
  /** What no other process of the installation is called, now or before. The same characters. */
  readonly instanceId: string;
  readonly clock: Clock;
  readonly log: RedisLog;
  /** How long a place of a dead instance is held; a minute unless said otherwise. */
  readonly slotHeldMs?: number;
}

/** What the instances of an installation share. Never rejects, nor waits, because Redis is away: then each goes on by itself. */
export interface RedisCoordination {
  readonly streamLogs: RedisStreamLogs;
  readonly signals: TurnSignals;
  readonly slots: GenerationSlots;
  readonly limiter: RateLimiter;
  readonly attemptCounters: OpenAttemptCounter;
  readonly usageChanges: UsageChanges;
  /** Removes all that Redis holds of a tenant. Rejects while Redis is away. */
  forget(tenantId: TenantId): Promise<void>;
  /** Whether Redis is there. */
  ready(): boolean;
  /** Has Redis take what this process still wrote, if it is there, and leaves. */
  close(): Promise<void>;
}

/** Connects this process to the others of its installation. */
export function createRedis({ url, prefix, instanceId, clock, log, slotHeldMs }: RedisOptions): RedisCoordination {
  const keys = redisKeys(prefix);
  const connection = createRedisConnection({ url, clock, log });
  const instances = createInstances({ connection, keys, instanceId, clock });
  const streamLogs = createRedisStreamLogs({ connection, keys, clock, local: createMemoryStreamLogs(clock) });
  const slots = createRedisGenerationSlots({
    ...{ connection, keys, instanceId, clock },
    ...(slotHeldMs !== undefined && { heldMs: slotHeldMs }),
  });
  return {
    streamLogs,
    signals: createRedisTurnSignals({ connection, keys, instanceId }),
    slots,
    limiter: createRedisRateLimiter({ connection, keys, instances, clock, local: createMemoryRateLimiter(clock) }),
    attemptCounters: createRedisAttemptCounters(connection, keys),
    usageChanges: createRedisUsageChanges({ connection, keys, instanceId, local: createMemoryUsageChanges() }),
    forget: (tenantId) => forgetTenant(connection, keys.allOf(tenantId)),
    ready: () => connection.ready(),
    async close() {
      slots.close();
      await Promise.all([streamLogs.settled(), instances.close()]);
      connection.close();
    },
  };
}
