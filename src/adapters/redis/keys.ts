import type { TenantId } from '../../tenancy/tenant-id.ts';
import type { RateSubject } from '../../tenants/ports.ts';

/** Where a stream is kept, and where its readers are told of it. */
export interface StreamKeys {
  readonly key: string;
  readonly channel: string;
}

export type RedisKeys = ReturnType<typeof redisKeys>;

/** What a key may be made of. A `#` would let one tenant's key reach into another's. */
const PART = /^[A-Za-z0-9._-]+$/;

function join(...parts: readonly string[]): string {
  if (!parts.every((part) => PART.test(part))) throw new Error('A key part holds a character that keys may not hold.');
  return parts.join('#');
}

/** Every key and channel of one installation. Those of a tenant begin with the tenant, so that none of them can name another's. */
export function redisKeys(prefix: string) {
  const ofTenant = (tenantId: TenantId, ...parts: readonly string[]): string => join(prefix, 'T', tenantId, ...parts);
  return {
    /** Null when no message has such an id. */
    stream: (tenantId: TenantId, messageId: string): StreamKeys | null =>
      PART.test(messageId)
        ? { key: ofTenant(tenantId, 'ST', messageId), channel: ofTenant(tenantId, 'LIVE', messageId) }
        : null,
    /** A pattern that every key of the tenant fits, and no other: nothing that a key may be made of means anything else there. */
    allOf: (tenantId: TenantId): string => `${ofTenant(tenantId)}#*`,
    slots: (tenantId: TenantId): string => ofTenant(tenantId, 'SLOTS'),
    rate: ({ tenantId, meter, lane }: RateSubject): string => ofTenant(tenantId, 'RATE', meter, lane),
    attempts: (name: string): string => join(prefix, 'SYS', 'ATTEMPTS', name),
    instances: (): string => join(prefix, 'SYS', 'INSTANCES'),
    instancesChannel: (): string => join(prefix, 'SYS', 'INSTANCES', 'COUNT'),
    usageChannel: (): string => join(prefix, 'SYS', 'USAGE'),
    cancelChannel: (): string => join(prefix, 'SYS', 'CANCEL'),
    freedChannel: (): string => join(prefix, 'SYS', 'FREED'),
  };
}
