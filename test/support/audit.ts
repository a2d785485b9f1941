import { createSign } from '../../src/audit/chain.ts';
import { memorySpool } from '../../src/audit/memory-segment.ts';
import type { AuditFact, ChainedEntry } from '../../src/audit/model.ts';
import type { AuditSpool, AuditTrails } from '../../src/audit/ports.ts';
import { createAuditRecorder } from '../../src/audit/recorder.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import { ulid } from '../../src/kernel/ids.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import { collect } from './collect.ts';

export const SIGN = createSign('a secret of the tests, long enough for it');

export const aFact = (tenantId: TenantId, more: Partial<AuditFact> = {}): AuditFact => ({
  ...{ tenantId, actorId: 'user-1', action: 'conversation.delete', resource: 'conversation/conv-1', result: 'SUCCESS' },
  ...{ ipAddress: '127.0.0.1', userAgent: 'test', requestId: 'request-1', details: {} },
  ...more,
});

export interface RecorderOptions {
  readonly trails: Pick<AuditTrails, 'of'>;
  readonly clock: Clock;
  readonly spool?: AuditSpool;
  readonly writer?: string;
  readonly memoryBytesMax?: number;
}

/** A recorder as a process has one, and what its log was told. */
export function startRecorder({ trails, clock, spool = memorySpool, ...more }: RecorderOptions) {
  const told: string[] = [];
  const recorder = createAuditRecorder({
    ...{ writer: ulid(clock.now()), sign: SIGN, memoryBytesMax: 16_000_000, bytesMax: 64_000_000, ...more },
    ...{ trails: trails as AuditTrails, spool, clock },
    log: {
      undelivered: (entries) => told.push(`undelivered ${entries}`),
      spoolFailed: () => told.push('spool failed'),
      lost: (entries) => told.push(`lost ${entries}`),
    },
  });
  return { recorder, told };
}

/** A store that can be away. */
export function awayable(trails: Pick<AuditTrails, 'of'>) {
  const state = { away: false };
  return {
    state,
    of: (tenantId: TenantId) => {
      const store = trails.of(tenantId);
      const append = (entry: ChainedEntry) =>
        state.away ? Promise.reject(new Error('the store is away')) : store.append(entry);
      return { ...store, append };
    },
  };
}

/** Everything in a trail, the oldest first. */
export async function trailOf(trails: Pick<AuditTrails, 'of'>, tenantId: TenantId): Promise<ChainedEntry[]> {
  const store = trails.of(tenantId);
  const days = (await store.days('00000000', '99999999')).toReversed();
  const found = await Promise.all(days.map((day) => collect(store.ofDay(day))));
  return found.flat().map(({ entry }) => entry);
}
