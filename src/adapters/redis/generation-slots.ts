import type { GenerationSlots } from '../../conversations/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import { every } from '../../kernel/repeating.ts';
import { parseTenantId, type TenantId } from '../../tenancy/tenant-id.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { createScript, REDIS_TIME } from './script.ts';

/** How long a place is held that nobody renews: its process has died. In milliseconds. */
const HELD_MS = 60_000;

/** KEYS: the tenant's places, each with its expiry. ARGV: turn, max, ms held. Answers 0 for a place, otherwise in how many ms the next one expires. */
const TAKE = createScript(`${REDIS_TIME}
local heldMs = tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZSCORE', KEYS[1], ARGV[1]) or redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('ZADD', KEYS[1], now + heldMs, ARGV[1])
  redis.call('PEXPIRE', KEYS[1], heldMs)
  return 0
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return math.max(1, (tonumber(first[2]) or now) - now)
`);

/** KEYS: the tenant's places. ARGV: ms held, turns. They hold their places, whether or not Redis still knew of them. */
const HOLD = createScript(`${REDIS_TIME}
local heldMs = tonumber(ARGV[1])
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + heldMs, ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], heldMs)
`);

export interface RedisGenerationSlotsDependencies {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly instanceId: string;
  readonly clock: Clock;
  readonly heldMs?: number;
}

export interface RedisGenerationSlots extends GenerationSlots {
  close(): void;
}

/**
 * The places of each tenant, over all instances. A place expires unless its instance renews it, three times in its life. While Redis
 * is away every place is given: what this instance may run by itself is limited elsewhere, and it registers what it runs afterwards.
 */
export function createRedisGenerationSlots(deps: RedisGenerationSlotsDependencies): RedisGenerationSlots {
  const { connection, keys, instanceId, clock, heldMs = HELD_MS } = deps;
  const held = new Map<TenantId, Set<string>>();
  const channel = keys.freedChannel();
  const refusals = createRefusals(clock);

  function hold(tenantId: TenantId, turnId: string): true {
    const turns = held.get(tenantId) ?? new Set();
    held.set(tenantId, turns.add(turnId));
    return true;
  }

  function letGo(tenantId: TenantId, turnId: string) {
    const turns = held.get(tenantId);
    if (turns?.delete(turnId) && turns.size === 0) held.delete(tenantId);
  }

  function renew() {
    if (!connection.ready()) return;
    for (const [tenantId, turns] of held) {
      // A failure leaves two more tries before the places expire.
      HOLD(connection.commands, [keys.slots(tenantId)], [heldMs, ...turns]).catch(() => {});
    }
  }

  const stopRenewing = every(clock, heldMs / 3, renew);
  connection.onUp(renew);
  connection.onDown(refusals.tellAll);
  void connection.subscribe(channel, (message) => {
    const [sender, tenant = ''] = message.split(' ');
    const tenantId = parseTenantId(tenant);
    if (sender !== instanceId && tenantId) refusals.tell(tenantId);
  });

  return {
    async take(tenantId, turnId, max) {
      if (!connection.ready()) return hold(tenantId, turnId);
      try {
        const waitMs = Number(await TAKE(connection.commands, [keys.slots(tenantId)], [turnId, max, heldMs]));
        if (waitMs === 0) return hold(tenantId, turnId);
        refusals.note(tenantId, waitMs);
        return false;
      } catch {
        return hold(tenantId, turnId);
      }
    },
    async release(tenantId, turnId) {
      letGo(tenantId, turnId);
      if (!connection.ready()) return;
      const release = connection.commands.pipeline().zrem(keys.slots(tenantId), turnId);
      // Where this fails the place expires.
      await release
        .publish(channel, `${instanceId} ${tenantId}`)
        .exec()
        .catch(() => null);
    },
    onFreed: refusals.onFreed,
    close() {
      stopRenewing();
      refusals.close();
    },
  };
}

/** Who is to be told that a place may be free: of a dead process's place, which nobody releases, they are told when it expires. */
function createRefusals(clock: Clock) {
  const listeners: ((tenantId: TenantId) => void)[] = [];
  const expected = new Map<TenantId, () => void>();

  function forget(tenantId: TenantId) {
    expected.get(tenantId)?.();
    expected.delete(tenantId);
  }

  function tell(tenantId: TenantId) {
    forget(tenantId);
    for (const listener of listeners) listener(tenantId);
  }

  return {
    tell,
    note(tenantId: TenantId, waitMs: number) {
      if (!expected.has(tenantId))
        expected.set(
          tenantId,
          clock.after(waitMs, () => tell(tenantId)),
        );
    },
    tellAll: () => [...expected.keys()].forEach(tell),
    onFreed: (listener: (tenantId: TenantId) => void) => void listeners.push(listener),
    close: () => [...expected.keys()].forEach(forget),
  };
}
