import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LEASE_MS, RETRY_AFTER_MS } from '../../src/alerts/delivery.ts';
import type { WebhookMessage } from '../../src/alerts/ports.ts';
import { openAlertBench } from '../support/alert-bench.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const LIMITS = { limits: { tokensPerDay: 1_000, tokensPerMonth: null } };
const HOUR_MS = 3_600_000;

/** A tenant with a webhook and one alert, just recorded. */
async function alerted() {
  const bench = openAlertBench(storage, LIMITS);
  const secret = await bench.setWebhook();
  const recorder = bench.instance();
  await recorder.turn(900);
  await recorder.heard(1);
  await bench.clock.advance(1); // the index is read up to now, not including it
  const delivery = async () => (await bench.alerts())[0]!.delivery;
  return { bench, secret, delivery };
}

const verifies = ({ headers, body }: WebhookMessage, secret: string) => {
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64');
  return headers['webhook-signature'] === `v1,${createHmac('sha256', key).update(signed).digest('base64')}`;
};

it('is sent to the webhook, signed, and not again', async () => {
  const { bench, secret, delivery } = await alerted();
  expect(await delivery()).toMatchObject({ state: 'PENDING', attempts: 0, nextAttemptAt: '2026-11-20T12:00:00.000Z' });
  const instance = bench.instance();
  await instance.delivery.round();
  const [alert] = await bench.alerts();
  expect(instance.sent).toHaveLength(1);
  const [message] = instance.sent;
  expect(message!.url).toBe('https://hooks.example/usage');
  expect(message!.headers).toMatchObject({ 'webhook-id': alert!.id, 'webhook-timestamp': '1795176000' });
  expect(verifies(message!, secret)).toBe(true);
  expect(JSON.parse(message!.body)).toEqual({
    type: 'usage.threshold_reached',
    timestamp: '2026-11-20T12:00:00.000Z',
    data: {
      ...{ id: alert!.id, tenant: bench.tenantId, limit: 'TOKENS_PER_DAY', percentage: 80, period: '2026-11-20' },
      ...{ limitTokens: 1_000, usedTokens: 900 },
    },
  });
  expect(alert!.delivery).toEqual({
    ...{ state: 'DELIVERED', attempts: 1, nextAttemptAt: null, lastError: null },
    deliveredAt: '2026-11-20T12:00:00.001Z',
  });
  await bench.clock.advance(48 * HOUR_MS);
  await instance.delivery.round();
  expect(instance.sent).toHaveLength(1);
});

it('is sent once by ten instances that look at once', async () => {
  const { bench } = await alerted();
  const instances = Array.from({ length: 10 }, () => bench.instance());
  await Promise.all(instances.map(({ delivery }) => delivery.round()));
  expect(instances.flatMap(({ sent }) => sent)).toHaveLength(1);
  expect(instances.flatMap(({ faults }) => faults)).toEqual([]);
});

it('is tried again after pauses that grow over more than a day, signed anew under the same id, then put aside', async () => {
  const { bench, secret, delivery } = await alerted();
  const instance = bench.instance(() => 'The receiver answered 500.');
  await instance.delivery.round();
  for (const [tries, pause] of RETRY_AFTER_MS.entries()) {
    expect(await delivery()).toMatchObject({
      ...{ state: 'PENDING', attempts: tries + 1, lastError: 'The receiver answered 500.' },
      nextAttemptAt: new Date(bench.clock.now() + pause).toISOString(),
    });
    await bench.clock.advance(pause);
    await instance.delivery.round();
    expect(instance.sent).toHaveLength(tries + 1);
    await bench.clock.advance(1);
    await instance.delivery.round();
    expect(instance.sent).toHaveLength(tries + 2);
  }
  expect(RETRY_AFTER_MS.reduce((sum, pause) => sum + pause)).toBeGreaterThan(24 * HOUR_MS);
  expect(new Set(instance.sent.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  expect(new Set(instance.sent.map(({ headers }) => headers['webhook-timestamp'])).size).toBe(8);
  expect(instance.sent.every((message) => verifies(message, secret))).toBe(true);
  expect(await delivery()).toMatchObject({ state: 'PARKED', attempts: 8, nextAttemptAt: null });
  expect(instance.said.at(-1)).toBe('parked TOKENS_PER_DAY 80');
  await bench.clock.advance(100 * HOUR_MS);
  await instance.delivery.round();
  expect(instance.sent).toHaveLength(8);

  const [parked] = await bench.parked();
  expect(parked).toMatchObject({ tenantId: bench.tenantId, name: '2026-11-20.TOKENS_PER_DAY.80' });
  expect(await bench.direct.alerts.unpark(parked!.name, bench.clock.now())).toBe(true);
  expect(await bench.direct.alerts.unpark(parked!.name, bench.clock.now())).toBe(false);
  expect(await bench.parked()).toEqual([]);
  const later = bench.instance();
  await bench.clock.advance(1);
  await later.delivery.round();
  expect(later.sent).toHaveLength(1);
  expect(await delivery()).toMatchObject({ state: 'DELIVERED', attempts: 1, lastError: null });
});

it('whose process died between sending and writing so is sent again under the same id, when the lease is over', async () => {
  const { bench, delivery } = await alerted();
  const dying = bench.instance(() => new Promise(() => undefined)); // it never comes back
  void dying.delivery.round();
  await dying.begun;
  const successor = bench.instance();
  await bench.clock.advance(LEASE_MS);
  await successor.delivery.round();
  expect(successor.sent).toEqual([]);
  await bench.clock.advance(1);
  await successor.delivery.round();
  expect(successor.sent.map(({ headers }) => headers['webhook-id'])).toEqual([dying.sent[0]!.headers['webhook-id']]);
  expect(await delivery()).toMatchObject({ state: 'DELIVERED', attempts: 2 });
});

it('what a process that was overtaken has to say of its try changes nothing', async () => {
  const { bench, delivery } = await alerted();
  const answer = Promise.withResolvers<string>();
  const slow = bench.instance(() => answer.promise);
  const round = slow.delivery.round();
  await slow.begun;
  await bench.clock.advance(LEASE_MS + 1);
  await bench.instance().delivery.round();
  answer.resolve('The receiver answered 500.');
  await round;
  expect(await delivery()).toMatchObject({ state: 'DELIVERED', attempts: 2, lastError: null });
});

it('goes to the webhook as it is at the time of the try; where it was removed, nowhere', async () => {
  const { bench, delivery } = await alerted();
  const instance = bench.instance(() => 'no');
  await instance.delivery.round();
  const secret = await bench.setWebhook('https://other.example/');
  await bench.clock.advance(RETRY_AFTER_MS[0]! + 1);
  await instance.delivery.round();
  expect(instance.sent[1]!.url).toBe('https://other.example/');
  expect(verifies(instance.sent[1]!, secret)).toBe(true);
  expect(verifies(instance.sent[0]!, secret)).toBe(false);
  await bench.direct.webhook.set(null);
  await bench.clock.advance(RETRY_AFTER_MS[1]! + 1);
  await instance.delivery.round();
  expect(instance.sent).toHaveLength(2);
  expect(await delivery()).toMatchObject({ state: 'NONE', nextAttemptAt: null });
});

it('with a secret that was sealed for another tenant, or by another installation, is not sent', async () => {
  const { bench, delivery } = await alerted();
  const other = openAlertBench(storage, LIMITS);
  await other.setWebhook();
  await bench.direct.webhook.set(await other.direct.webhook.get());
  const instance = bench.instance();
  await instance.delivery.round();
  expect(instance.sent).toEqual([]);
  expect(await delivery()).toMatchObject({ state: 'PENDING', lastError: expect.stringContaining('secret') as string });
});

it('no secret lies in the tables in a form that signs', async () => {
  const { bench, secret } = await alerted();
  const rows = JSON.stringify(await storage.rowsOf(bench.tenantId));
  expect(rows).not.toContain(secret);
  expect(rows).not.toContain(secret.replace('whsec_', ''));
});

it('one that cannot be read or written does not hold up the others of its round', async () => {
  const bench = openAlertBench(storage, LIMITS);
  await bench.setWebhook();
  const recorder = bench.instance();
  await recorder.turn(1_000);
  await recorder.heard(2);
  await bench.clock.advance(1);
  const instance = bench.instance();
  const { alerts } = instance.stores;
  const claim = alerts.claim.bind(alerts);
  Object.assign(alerts, {
    claim: (name: string, ...times: [number, number]) =>
      name.endsWith('.80') ? Promise.reject(new Error('poison')) : claim(name, ...times),
  });
  await instance.delivery.round();
  expect(instance.said.toSorted()).toEqual(['delivered TOKENS_PER_DAY 100', 'fault']);
});

it('ends at once when the server stops; the try that was broken off is made again', async () => {
  const { bench, delivery } = await alerted();
  const broken = Promise.withResolvers<string>();
  const instance = bench.instance(() => broken.promise);
  const stop = instance.delivery.start();
  await instance.begun;
  const stopped = stop();
  broken.resolve('The connection failed.');
  await stopped;
  expect(await delivery()).toMatchObject({ state: 'PENDING', attempts: 1, lastError: null });
  await bench.clock.advance(LEASE_MS + 1);
  await bench.instance().delivery.round();
  expect(await delivery()).toMatchObject({ state: 'DELIVERED' });
});
