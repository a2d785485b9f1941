import { expect, it } from 'vitest';
import type { Tenant } from '../../src/tenants/model.ts';
import { UNLIMITED } from '../../src/tenants/model.ts';
import { AT } from '../support/conversation-rows.ts';
import { onEveryEngine } from '../support/dynamodb-storage.ts';

onEveryEngine('TenantDirectory', (storage) => {
  const aTenant = (more: Partial<Tenant> = {}): Tenant => ({
    id: storage().tenant(),
    name: 'Acme Corporation',
    status: 'ACTIVE',
    agentIds: ['support', 'analyst'],
    knowledgeBaseIds: ['KBSUPPORT1'],
    limits: { ...UNLIMITED, tokensPerMonth: 40_000_000_000 },
    features: [{ name: 'beta', enabled: true }],
    conversationRetentionDays: 30,
    alertPercentages: [50, 100],
    allowedOrigins: ['https://app.example'],
    version: 1,
    createdAt: AT,
    updatedAt: AT,
    ...more,
  });

  it('a tenant is read back as it was; one that does not exist is null', async () => {
    const { tenants } = storage().connect();
    const tenant = aTenant();
    expect(await tenants.create(tenant)).toBe(true);
    expect(await tenants.get(tenant.id)).toEqual(tenant);
    expect(await tenants.get(storage().tenant())).toBeNull();
  });

  it('an id that is taken is refused and nothing is changed', async () => {
    const { tenants } = storage().connect();
    const tenant = aTenant();
    await tenants.create(tenant);
    const before = await storage().allRows();
    expect(await tenants.create({ ...tenant, name: 'Another', status: 'SUSPENDED' })).toBe(false);
    expect(await storage().allRows()).toEqual(before);
  });

  it('of racing creations one wins', async () => {
    const { tenants } = storage().connect();
    const tenant = aTenant();
    const results = await Promise.all(
      Array.from({ length: 10 }, (_, n) => tenants.create({ ...tenant, name: `Name ${n}` })),
    );
    expect(results.filter(Boolean)).toHaveLength(1);
    expect((await tenants.get(tenant.id))?.name).toBe(`Name ${results.indexOf(true)}`);
  });

  it('every tenant has one entry in the directory, also after a crash between the two writes', async () => {
    const proxy = await storage().proxy();
    const tenant = aTenant();
    proxy.decide(({ operation, body }) =>
      operation === 'PutItem' && body.includes('SYS#TENANTS') ? 'refuse' : 'pass',
    );
    await expect(storage().connect({ proxy }).tenants.create(tenant)).rejects.toThrow();
    const { tenants } = storage().connect();
    expect(await tenants.get(tenant.id)).toEqual(tenant);
    expect(await tenants.create(tenant)).toBe(false);
    const entries = (await storage().allRows()).filter(({ PK, SK }) => PK === 'SYS#TENANTS' && SK === tenant.id);
    expect(entries).toHaveLength(1);
  });
});
