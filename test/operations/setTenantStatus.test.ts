import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actingIn } from '../support/refusals.ts';
import { startWorld, type World } from '../support/world.ts';

const SET_STATUS = `mutation($id: ID!, $status: TenantStatus!) { setTenantStatus(tenantId: $id, status: $status) { tenant { id status } } }`;
const RENAME = `mutation { updateTenant(input: { name: "Renamed" }) { tenant { name status } } }`;

describe('setTenantStatus', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.stop());
  const set = (id: string, status: string) => world.operator.run(SET_STATUS, { id, status });

  it('ok: suspended, a tenant does nothing but `viewer` and keeps what it has; operators read and administer it', async () => {
    const { member, admin } = world.acme;
    const conversation = await member.createConversation('Kept');
    expect((await set('acme', 'SUSPENDED')).data.setTenantStatus.tenant).toEqual({ id: 'acme', status: 'SUSPENDED' });
    for (const query of ['{ tenant { id } }', '{ conversations { nodes { id } } }', RENAME])
      expect([query, (await admin.run(query)).code]).toEqual([query, 'TENANT_SUSPENDED']);
    expect((await member.run('{ viewer { tenant { status } } }')).data.viewer.tenant.status).toBe('SUSPENDED');
    const operator = actingIn(world, 'acme');
    expect((await operator.run('{ conversations { nodes { id } } }')).data.conversations.nodes).toEqual([
      { id: conversation },
    ]);
    expect((await operator.run(RENAME)).data.updateTenant.tenant).toEqual({ name: 'Renamed', status: 'SUSPENDED' });

    await set('acme', 'ACTIVE');
    expect((await member.run('{ conversations { nodes { title } } }')).data.conversations.nodes).toEqual([
      { title: 'Kept' },
    ]);
  });

  it('ok: an answer that is being generated when its tenant is suspended is finished and kept', async () => {
    const { member } = world.acme;
    const conversation = await member.createConversation();
    const send = `mutation($input: SendMessageInput!) { sendMessage(input: $input) { assistantMessage { id status } } }`;
    const sent = await member.run(send, {
      input: { conversationId: conversation, content: '[[emulate chunks=4 delayMs=30]] hello' },
    });
    const { id, status } = sent.data.sendMessage.assistantMessage;
    expect(status).toBe('STREAMING');
    await set('acme', 'SUSPENDED');
    const operator = actingIn(world, 'acme');
    const read = async () => (await operator.run(`{ message(id: "${id}") { status } }`)).data.message.status as string;
    await expect.poll(read, { timeout: 20_000 }).toBe('COMPLETED');
    await set('acme', 'ACTIVE');
  });

  it('ok: in a tenant that is being removed nobody writes, not even an operator; there is no way back', async () => {
    expect((await set('globex', 'DELETING')).data.setTenantStatus.tenant.status).toBe('DELETING');
    const operator = actingIn(world, 'globex');
    expect((await operator.run('{ tenant { status } }')).data.tenant.status).toBe('DELETING');
    expect((await operator.run(RENAME)).code).toBe('TENANT_SUSPENDED');
    expect((await world.globex.admin.run('{ tenant { id } }')).code).toBe('TENANT_SUSPENDED');
    for (const status of ['ACTIVE', 'SUSPENDED']) expect((await set('globex', status)).code).toBe('CONFLICT');
  });

  it('NOT_FOUND for a tenant that is not there; FORBIDDEN for everybody but operators', async () => {
    for (const id of ['hooli', 'platform', 'no tenant']) expect((await set(id, 'SUSPENDED')).code).toBe('NOT_FOUND');
    for (const caller of [world.acme.admin, world.acme.member])
      expect((await caller.run(SET_STATUS, { id: 'acme', status: 'SUSPENDED' })).code).toBe('FORBIDDEN');
  });
});
