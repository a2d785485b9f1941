import { expect, it } from 'vitest';
import { systemClock } from '../../src/kernel/clock.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { openInstallation, REDIS_NAME, REDIS_URL } from '../support/redis.ts';

const acme = parseTenantId('acme')!;
const acme2 = parseTenantId('acme-2')!;

it.skipIf(!REDIS_URL)(
  `${REDIS_NAME} forgets all of a tenant, and nothing of another, however alike they are called`,
  async () => {
    const own = openInstallation(REDIS_URL!);
    try {
      const { limiter, slots, streamLogs, ...redis } = await own.connect({ clock: systemClock });
      for (const tenantId of [acme, acme2]) {
        await limiter.take({ tenantId, meter: 'requests', lane: 'callers' }, 60);
        await slots.take(tenantId, 'turn-1', 5);
        await streamLogs.forTenant(tenantId).open('msg-1');
        await streamLogs.forTenant(tenantId).append('msg-1', { type: 'DELTA', sequence: 1, text: 'x' });
        // More than one command looks at.
        const many = Array.from({ length: 2_500 }, (_, n) => [`${own.prefix}#T#${tenantId}#MANY#${n}`, 'x']);
        await own.raw.mset(...many.flat());
      }
      await streamLogs.settled();
      const keysOf = async (tenant: string) => (await own.raw.keys(`${own.prefix}#T#${tenant}#*`)).sort();
      const others = await keysOf(acme2);
      expect((await keysOf(acme)).length).toBe(others.length);
      expect(others.length).toBeGreaterThan(2_500);
      await redis.forget(acme);
      expect(await keysOf(acme)).toEqual([]);
      expect(await keysOf(acme2)).toEqual(others);
    } finally {
      await own.close();
    }
  },
);
