import { describe, expect, it } from 'vitest';
import type { Principal, Role } from '../../src/tenancy/principal.ts';
import { parseTenantId, PLATFORM, type TenantId } from '../../src/tenancy/tenant-id.ts';
import { UNLIMITED, type Tenant } from '../../src/tenants/model.ts';
import { createTenantService } from '../../src/tenants/service.ts';
import { createTestClock } from '../support/clock.ts';
import { AT } from '../support/conversation-rows.ts';

const acme = parseTenantId('acme')!;

const aTenant = (id: TenantId, more: Partial<Tenant> = {}): Tenant => ({
  id,
  name: 'Acme',
  status: 'ACTIVE',
  agentIds: [],
  knowledgeBaseIds: [],
  limits: UNLIMITED,
  features: [],
  conversationRetentionDays: null,
  alertPercentages: null,
  allowedOrigins: [],
  version: 1,
  createdAt: AT,
  updatedAt: AT,
  ...more,
});

const principal = (role: Role, tenantId: TenantId | null): Principal => ({
  userId: 'user-1',
  name: 'Mia',
  email: null,
  roles: [role],
  tenantId,
  credential: { kind: 'SESSION', sessionId: 'session-1' },
  expiresAt: Infinity,
});
const member = principal('MEMBER', acme);
const admin = principal('TENANT_ADMIN', acme);
const operator = principal('PLATFORM_OPERATOR', null);

function open(stored: Tenant | null = aTenant(acme)) {
  const clock = createTestClock();
  const state = { stored, reads: 0, failing: false, left: false };
  const tenants = createTenantService({
    clock,
    directory: {
      hasLeft: () => Promise.resolve(state.left),
      get(id) {
        state.reads++;
        if (state.failing) return Promise.reject(new Error('out of reach'));
        return Promise.resolve(state.stored?.id === id ? state.stored : null);
      },
    },
  });
  return { clock, state, tenants };
}

describe('a tenant is read at most once in 25 s', () => {
  it('and shows a change after that, not before', async () => {
    const { clock, state, tenants } = open();
    await tenants.find(acme);
    state.stored = aTenant(acme, { name: 'New name' });
    await clock.advance(24_999);
    expect((await tenants.find(acme))?.name).toBe('Acme');
    expect(state.reads).toBe(1);
    await clock.advance(1);
    expect((await tenants.find(acme))?.name).toBe('New name');
    expect(state.reads).toBe(2);
  });

  it('counted from when it was asked for, so that a slow read is not trusted longer', async () => {
    const { clock, state, tenants } = open();
    const answer = Promise.withResolvers<Tenant | null>();
    const slow = createTenantService({
      clock,
      directory: {
        hasLeft: () => Promise.resolve(false),
        get: () => (state.reads++ === 0 ? answer.promise : Promise.resolve(aTenant(acme, { name: 'Second' }))),
      },
    });
    const first = slow.find(acme);
    await clock.advance(29_000);
    answer.resolve(aTenant(acme));
    expect((await first)?.name).toBe('Acme');
    await clock.advance(1_000);
    expect((await slow.find(acme))?.name).toBe('Second');
    expect(tenants).toBeDefined();
  });

  it('by many callers at once in one read', async () => {
    const { state, tenants } = open();
    await Promise.all(Array.from({ length: 50 }, () => tenants.find(acme)));
    expect(state.reads).toBe(1);
  });

  it('a missing one too', async () => {
    const { clock, state, tenants } = open(null);
    expect(await tenants.find(acme)).toBeNull();
    expect(await tenants.find(acme)).toBeNull();
    expect(state.reads).toBe(1);
    state.stored = aTenant(acme);
    await clock.advance(30_000);
    expect(await tenants.find(acme)).not.toBeNull();
  });

  it('a read that failed is no answer: the next caller asks again', async () => {
    const { state, tenants } = open();
    state.failing = true;
    await expect(tenants.find(acme)).rejects.toThrow('out of reach');
    await expect(tenants.enter(member, null)).rejects.toThrow('out of reach');
    state.failing = false;
    expect(await tenants.find(acme)).toMatchObject({ id: acme });
    expect(state.reads).toBe(3);
  });

  it('one tenant is never shown for another', async () => {
    const { tenants } = open();
    await tenants.find(acme);
    expect(await tenants.find(parseTenantId('globex')!)).toBeNull();
  });
});

describe('entering a tenant', () => {
  it.each([member, admin, principal('PARTNER', acme)])('its own people enter it, naming it or not', async (caller) => {
    const { tenants } = open();
    expect(await tenants.enter(caller, null)).toMatchObject({ id: acme });
    expect(await tenants.enter(caller, 'acme')).toMatchObject({ id: acme });
  });

  it.each(['globex', 'nobody', 'Not A Slug', 'acme ', 'ACME', '', 'platform'])(
    'naming another (%j) is FORBIDDEN, whether it exists or not',
    async (named) => {
      const { state, tenants } = open();
      for (const caller of [member, admin])
        await expect(tenants.enter(caller, named)).rejects.toMatchObject({ code: 'FORBIDDEN' });
      expect(state.reads).toBe(0);
    },
  );

  it('an operator names one: none is TENANT_REQUIRED, an unknown or impossible one TENANT_INVALID', async () => {
    const { tenants } = open();
    expect(await tenants.enter(operator, 'acme')).toMatchObject({ id: acme });
    await expect(tenants.enter(operator, null)).rejects.toMatchObject({ code: 'TENANT_REQUIRED' });
    for (const named of ['globex', 'platform', 'acme#x', '', 'ACME'])
      await expect(tenants.enter(operator, named)).rejects.toMatchObject({ code: 'TENANT_INVALID' });
  });

  it.each(['SUSPENDED', 'DELETING'] as const)('a %s one admits operators only', async (status) => {
    const { tenants } = open(aTenant(acme, { status }));
    for (const caller of [member, admin, principal('PARTNER', acme)])
      await expect(tenants.enter(caller, null)).rejects.toMatchObject({ code: 'TENANT_SUSPENDED' });
    expect(await tenants.enter(operator, 'acme')).toMatchObject({ status });
  });

  it('a tenant that is gone is TENANT_INVALID for its own people', async () => {
    await expect(open(null).tenants.enter(member, null)).rejects.toMatchObject({ code: 'TENANT_INVALID' });
    await expect(open().tenants.enter(principal('MEMBER', null), null)).rejects.toMatchObject({
      code: 'TENANT_INVALID',
    });
  });

  it('one that is being removed is known as gone, and so is one that was; one that never was there is not', async () => {
    const { clock, state, tenants } = open();
    expect([await tenants.isGone(acme), tenants.isLeaving(acme)]).toEqual([false, false]);
    state.stored = aTenant(acme, { status: 'DELETING' });
    await clock.advance(30_000);
    expect([await tenants.isGone(acme), tenants.isLeaving(acme)]).toEqual([true, true]);
    state.stored = null;
    await clock.advance(30_000);
    expect([await tenants.isGone(acme), tenants.isLeaving(acme)]).toEqual([false, true]);
    state.left = true;
    expect([await tenants.isGone(acme), await tenants.isGone(PLATFORM)]).toEqual([true, false]);
  });

  it('suspension holds after 30 s at the latest', async () => {
    const { clock, state, tenants } = open();
    await tenants.enter(member, null);
    state.stored = aTenant(acme, { status: 'SUSPENDED' });
    await clock.advance(30_000);
    await expect(tenants.enter(member, null)).rejects.toMatchObject({ code: 'TENANT_SUSPENDED' });
  });
});
