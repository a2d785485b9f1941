import { expect, it } from 'vitest';
import type { RequestContext } from '../../src/context.ts';
import { createSubscriptionCounts } from '../../src/server/operations/subscription-limits.ts';
import { createSocketCounts } from '../../src/server/operations/socket-limits.ts';
import { principalOf } from '../support/bound-api.ts';

const contextOf = (signal: AbortSignal, userId: string | null = 'ada'): RequestContext =>
  ({ signal, identity: { principal: userId && { ...principalOf(), userId }, fault: null } }) as RequestContext;
const connection = () => new AbortController().signal;
const refused = (of: string, limit: number) =>
  expect.objectContaining({ code: 'SUBSCRIPTION_LIMIT', details: { of, limit } });

it('subscriptions are limited by connection, by user and by tenant, and one that has ended makes room for another', () => {
  const counts = createSubscriptionCounts({ perConnection: 2, perUser: 3, perTenant: 4 });
  const [one, other, third] = [connection(), connection(), connection()];
  const leaves = [counts.enter(contextOf(one)), counts.enter(contextOf(one))];
  expect(() => counts.enter(contextOf(one))).toThrow(refused('connection', 2));
  leaves.push(counts.enter(contextOf(other)));
  expect(() => counts.enter(contextOf(third))).toThrow(refused('user', 3));
  leaves.push(counts.enter(contextOf(third, 'grace')));
  expect(() => counts.enter(contextOf(third, 'linus'))).toThrow(refused('tenant', 4));

  leaves.pop()?.();
  leaves.push(counts.enter(contextOf(third, 'linus')));
  for (const leave of leaves) leave();
  expect(counts.size()).toBe(0);
});

it('whoever is nobody is limited by connection alone', () => {
  const counts = createSubscriptionCounts({ perConnection: 1, perUser: 0, perTenant: 0 });
  const signal = connection();
  counts.enter(contextOf(signal, null));
  expect(() => counts.enter(contextOf(signal, null))).toThrow(refused('connection', 1));
});

it('WebSockets are limited by user and by tenant, and those of nobody by address', () => {
  const counts = createSocketCounts({ perUser: 2, perTenant: 3 });
  const of = (userId: string | null, ipAddress = '192.0.2.1') =>
    counts.enter({ ...contextOf(connection(), userId), ipAddress });
  const leaves = [of('ada'), of('ada')];
  expect(of('ada')).toBeNull();
  leaves.push(of('grace'));
  expect(of('linus')).toBeNull();
  leaves.push(of(null), of(null), of(null, '192.0.2.2'));
  expect(of(null)).toBeNull();
  expect(leaves).not.toContain(null);
  for (const leave of leaves) leave?.();
  expect(counts.size()).toBe(0);
});
