import { readFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestClock, settle, type TestClock } from '../support/clock.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { expectTenantNeeded } from '../support/refusals.ts';
import { startWorld, type World } from '../support/world.ts';

const LIST = `query($first: Int, $after: String) {
  usageAlerts(first: $first, after: $after) {
    nodes {
      id limit percentage period limitTokens usedTokens at
      delivery { state attempts nextAttemptAt deliveredAt lastError }
    }
    pageInfo { hasNextPage endCursor }
  }
}`;
const SET = `mutation($url: String) { setUsageWebhook(url: $url) { secret } }`;

/** What `docs/webhooks.md` tells receivers to do. */
async function documentedCheck() {
  const text = readFileSync(join(import.meta.dirname, '../../docs/webhooks.md'), 'utf8');
  const code = /```js\n(.*?)```/s.exec(text)![1]!;
  const module = (await import(`data:text/javascript,${encodeURIComponent(code)}`)) as {
    verify: (secret: string, headers: IncomingHttpHeaders, body: string, nowSeconds: number) => boolean;
  };
  return module.verify;
}

describe('usageAlerts', () => {
  let clock: TestClock;
  let storage: Awaited<ReturnType<typeof startOwnStorage>>;
  let world: World;
  const received: { headers: IncomingHttpHeaders; body: string }[] = [];
  const receiver = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      received.push({ headers: request.headers, body });
      response.writeHead(200).end();
    });
  });
  beforeAll(async () => {
    clock = createTestClock();
    storage = await startOwnStorage();
    await storage.addTenant('umbrella', { tokensPerDay: 1_000 });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    world = await startWorld({ clock, config: { ...storage.config, webhooksToLoopback: true } });
  });
  afterAll(async () => {
    await world.stop();
    await storage.close();
    receiver.close();
  });

  it('shows an alert on its way to the webhook, from the turn that reached the limit to the receiver', async () => {
    const admin = await world.signIn('umbrella', 'admin@umbrella.example');
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
    const { secret } = (await admin.run(SET, { url })).data.setUsageWebhook as { secret: string };
    const alerts = async () => (await admin.run(LIST)).data.usageAlerts.nodes as readonly object[];
    const conversationId = await admin.createConversation();
    const sent = await admin.ask(conversationId, '[[emulate inputTokens=800 outputTokens=50]]');
    expect(sent.errors).toEqual([]);
    while ((await alerts()).length === 0) await settle();
    expect(await alerts()).toMatchObject([
      {
        ...{ limit: 'TOKENS_PER_DAY', percentage: 80, period: '2026-11-20', limitTokens: 1_000, usedTokens: 850 },
        delivery: { state: 'PENDING', attempts: 0, deliveredAt: null, lastError: null },
      },
    ]);
    expect(received).toEqual([]);
    await clock.advance(10_000);
    while ((await alerts()).some((alert) => (alert as { delivery: { state: string } }).delivery.state === 'PENDING'))
      await settle();
    const [alert] = await alerts();
    expect(alert).toMatchObject({ delivery: { state: 'DELIVERED', attempts: 1, nextAttemptAt: null } });
    const [message] = received;
    expect(received).toHaveLength(1);
    expect(JSON.parse(message!.body)).toMatchObject({ data: { tenant: 'umbrella', usedTokens: 850 } });

    const verify = await documentedCheck();
    const now = clock.now() / 1000;
    expect(verify(secret, message!.headers, message!.body, now)).toBe(true);
    expect(verify(secret, message!.headers, message!.body, now + 311)).toBe(false);
    expect(verify(secret, message!.headers, message!.body.replace('850', '851'), now)).toBe(false);
    expect(verify('whsec_AAAA', message!.headers, message!.body, now)).toBe(false);
    expect(message!.headers['webhook-id']).toBe((alert as { id: string }).id);
    // Another tenant's list has none of it.
    const other = await world.signIn('acme', 'admin@acme.example');
    expect((await other.run(LIST)).data.usageAlerts.nodes).toEqual([]);
  });

  it('BAD_USER_INPUT for a page that is none', async () => {
    const admin = await world.signIn('umbrella', 'admin@umbrella.example');
    for (const page of [{ first: 0 }, { first: 101 }, { after: 'x' }])
      expect((await admin.run(LIST, page)).code).toBe('BAD_USER_INPUT');
  });

  it('FORBIDDEN for a member; refused to everybody without a tenant', async () => {
    const [admin, member, operator] = await Promise.all([
      world.signIn('acme', 'admin@acme.example'),
      world.signIn('acme', 'member@acme.example'),
      world.signIn('platform', 'operator@platform.example'),
    ]);
    expect(await member.run(LIST)).toMatchObject({ code: 'FORBIDDEN', status: 403 });
    await expectTenantNeeded({ ...world, operator, acme: { admin, member } }, LIST);
  });
});
