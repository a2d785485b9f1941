import type { Webhook } from '../../alerts/model.ts';
import type { WebhookStore } from '../../alerts/ports.ts';
import type { TenantRows } from './conversation-store.ts';
import type { Item } from './table.ts';

/** A row beside the tenant's own: the secret is in nobody's way who only reads a tenant's configuration. */
export const createWebhookStore = ({ table, keys }: TenantRows): WebhookStore => ({
  async get() {
    const row = await table.get<Item & Webhook>(keys.webhook());
    return row && { url: row.url, sealedSecret: row.sealedSecret, setAt: row.setAt };
  },
  set: (webhook) => (webhook ? table.put(keys.webhook(), { ...webhook, v: 1 }) : table.remove(keys.webhook())),
});
