import { createMemoryStreamLogs } from '../../src/adapters/memory/stream-log.ts';
import { isTerminal } from '../../src/conversations/model.ts';
import type { StreamLog } from '../../src/conversations/ports.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';

/**
 * Streams of several processes: whoever writes one has it in its own memory and puts a copy where the others read it, which
 * takes the next event only, and of processes that do not write it the terminal one.
 */
export function createSharedStreams(tenantId: TenantId, clock: Clock) {
  const copies = createMemoryStreamLogs(clock).forTenant(tenantId);

  return (own = createMemoryStreamLogs(clock).forTenant(tenantId)): StreamLog => ({
    async open(id) {
      await own.open(id);
      await copies.open(id);
    },
    async append(id, event) {
      const writes = (await own.progress(id)) !== null;
      await own.append(id, event);
      const isNext = event.sequence === ((await copies.progress(id))?.lastEvent ?? 0) + 1;
      if (isTerminal(event) || (writes && isNext)) await copies.append(id, event);
    },
    read: async (id, after) => (await own.read(id, after)) ?? copies.read(id, after),
    progress: async (id) => (await own.progress(id)) ?? copies.progress(id),
    async withhold(id) {
      await own.withhold(id);
      await copies.withhold(id);
    },
    leave: (id) => own.leave(id),
  });
}
