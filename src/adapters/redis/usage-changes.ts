import { parseTenantId } from '../../tenancy/tenant-id.ts';
import type { UsageChanges } from '../../usage/ports.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';

export interface RedisUsageChangesDependencies {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly instanceId: string;
  /** The listeners of this process. */
  readonly local: UsageChanges;
}

/** Tells the other instances by pub/sub whose usage has changed. What is told while Redis is away is lost: the next change brings it. */
export function createRedisUsageChanges({
  connection,
  keys,
  instanceId,
  local,
}: RedisUsageChangesDependencies): UsageChanges {
  const channel = keys.usageChannel();
  void connection.subscribe(channel, (message) => {
    const [sender, tenant = ''] = message.split(' ');
    const tenantId = parseTenantId(tenant);
    if (sender !== instanceId && tenantId !== null) local.changed(tenantId);
  });
  return {
    changed(tenantId) {
      local.changed(tenantId);
      connection.commands.publish(channel, `${instanceId} ${tenantId}`).catch(() => {});
    },
    onChange: (tenantId, listener) => local.onChange(tenantId, listener),
  };
}
