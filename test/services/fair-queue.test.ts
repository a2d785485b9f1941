import { describe, expect, it } from 'vitest';
import {
  createFairQueue,
  type FairQueue,
  type FairQueueOptions,
  type Place,
} from '../../src/conversations/fair-queue.ts';
import type { GenerationSlots } from '../../src/conversations/ports.ts';
import { parseTenantId, type TenantId } from '../../src/tenancy/tenant-id.ts';
import { createMemoryGenerationSlots } from '../../src/adapters/memory/generation-slots.ts';
import { createTestClock, settle } from '../support/clock.ts';

const [big, small, third] = ['big-tenant', 'small-tenant', 'third-tenant'].map((slug) => parseTenantId(slug)!) as [
  TenantId,
  TenantId,
  TenantId,
];

interface Turn {
  readonly name: string;
  readonly place: Place;
  readonly control: AbortController;
  /** Resolves when it runs. */
  readonly ran: Promise<void>;
}

function open(options: Partial<FairQueueOptions> = {}, slots: GenerationSlots = createMemoryGenerationSlots()) {
  const clock = createTestClock();
  const queue = createFairQueue({
    options: {
      ...{ runningMax: 1, runningPerTenantMax: 100, waitingMax: 1_000, waitingPerTenantMax: 1_000 },
      ...{ deadlineMs: 60_000, weightOf: () => 1, ...options },
    },
    slots,
    clock,
  });
  /** Names in the order in which they began to run. */
  const order: string[] = [];
  let count = 0;

  function turn(tenantId: TenantId, name = `${tenantId} ${++count}`, max: number | null = null): Turn {
    const place = queue.enter(tenantId, name, max);
    const control = new AbortController();
    const ran = place.turnToRun(control.signal).then(() => void order.push(name));
    ran.catch(() => undefined);
    return { name, place, control, ran };
  }
  const turns = (tenantId: TenantId, count: number, max: number | null = null) =>
    Array.from({ length: count }, (_, n) => turn(tenantId, `${tenantId} ${n + 1}`, max));

  /** Ends the turns one after another, each as soon as it runs, until nothing waits. */
  async function drain(all: readonly Turn[]) {
    for (let done = 0; done < all.length; done++) {
      await settle(2);
      all.find(({ name }) => name === order[done])?.place.leave();
    }
    await settle(2);
  }
  return { clock, queue, order, turn, turns, drain };
}

const refusal = (queue: FairQueue, tenantId: TenantId) => {
  try {
    queue.enter(tenantId, 'one more', null).leave();
    return null;
  } catch (error) {
    return error as { code: string; details: { retryAfterMs: number; retryable: boolean } };
  }
};

describe('turns run in order', () => {
  it('at once while there is room, and then as those before them leave', async () => {
    const { order, turns, queue } = open({ runningMax: 2 });
    const all = turns(big, 4);
    await settle(2);
    expect(order).toEqual(['big-tenant 1', 'big-tenant 2']);
    expect([queue.running(), queue.waiting()]).toEqual([2, 2]);
    all[1]!.place.leave();
    await settle(2);
    expect(order).toEqual(['big-tenant 1', 'big-tenant 2', 'big-tenant 3']);
  });

  it('a tenant’s single turn runs before the second turn of a tenant that has 200 waiting', async () => {
    const { order, turn, turns, drain } = open();
    const crowd = turns(big, 201);
    await settle(2); // the first one runs, 200 wait
    const single = turn(small, 'single');
    await drain([...crowd, single]);
    expect(order.indexOf('single')).toBe(2);
    expect(order).toHaveLength(202);
  });

  it('three tenants share evenly while all of them wait', async () => {
    const { order, turn, turns, drain } = open();
    const first = turn(third, 'first');
    const all = [first, ...turns(big, 20), ...turns(small, 10), ...turns(third, 5)];
    await drain(all);
    const early = order.slice(1, 16);
    for (const tenant of [big, small, third]) expect(early.filter((name) => name.startsWith(tenant))).toHaveLength(5);
  });

  it('by weight: three of one for one of the other', async () => {
    const { order, turn, turns, drain } = open({ weightOf: (tenantId) => (tenantId === big ? 3 : 1) });
    const first = turn(third, 'first');
    await drain([first, ...turns(big, 12), ...turns(small, 12)]);
    for (const [from, to] of [
      [1, 5],
      [5, 9],
      [9, 13],
    ] as const) {
      expect(order.slice(from, to).filter((name) => name.startsWith(big))).toHaveLength(3);
    }
  });

  it('a tenant never runs more than its cap, and leaves the rest to others', async () => {
    const { order, turns, turn, queue } = open({ runningMax: 10, runningPerTenantMax: 6 });
    turns(big, 20);
    await settle(2);
    expect(queue.running()).toBe(6);
    turn(small, 'single');
    await settle(2);
    expect(order).toContain('single');
  });

  it('a tenant’s own limit holds: its further turns wait, the others’ do not', async () => {
    const { order, turns, queue } = open({ runningMax: 10 });
    const limited = turns(big, 5, 2);
    turns(small, 3);
    await settle(2);
    expect(order.filter((name) => name.startsWith(big))).toEqual(['big-tenant 1', 'big-tenant 2']);
    expect(order.filter((name) => name.startsWith(small))).toHaveLength(3);
    limited[0]!.place.leave();
    await settle(2);
    expect(order.filter((name) => name.startsWith(big))).toHaveLength(3);
    expect(queue.running()).toBe(5);
  });
});

describe('the place of a turn', () => {
  it('is the number in which it runs, whoever else waits', async () => {
    const weightOf = (tenantId: TenantId) => (tenantId === big ? 2 : 1);
    const { order, turn, turns, drain } = open({ weightOf });
    const first = turn(third, 'first');
    await settle(2);
    const all = [...turns(big, 7), ...turns(small, 5), ...turns(third, 3)];
    const positions = new Map(all.map(({ name, place }) => [name, place.position()]));
    expect([...positions.values()].toSorted((a, b) => a - b)).toEqual(Array.from({ length: 15 }, (_, n) => n + 1));
    await drain([first, ...all]);
    expect(order.slice(1).map((name) => positions.get(name))).toEqual(Array.from({ length: 15 }, (_, n) => n + 1));
  });

  it('is right in the middle of a round too', async () => {
    const { order, turns, drain } = open({ weightOf: (tenantId) => (tenantId === big ? 3 : 1) });
    const all = [...turns(big, 6), ...turns(small, 4)];
    await settle(2); // the first of the big tenant runs; two more of it are due in this visit
    const positions = new Map(all.map(({ name, place }) => [name, place.position()]));
    await drain(all);
    expect(order.map((name) => positions.get(name))).toEqual(Array.from({ length: 10 }, (_, n) => n));
  });

  it('is 0 for one that runs, and for one that has left', async () => {
    const { turns } = open();
    const [running, waiting] = turns(big, 2);
    await settle(2);
    expect([running!.place.position(), waiting!.place.position()]).toEqual([0, 1]);
    waiting!.place.leave();
    expect(waiting!.place.position()).toBe(0);
  });
});

describe('a queue that is full', () => {
  it('refuses with RATE_LIMITED and retryAfterMs, and takes turns again when one has left', async () => {
    const { queue, turns } = open({ waitingMax: 3 });
    const all = turns(big, 4);
    await settle(2);
    const refused = refusal(queue, small);
    expect(refused).toMatchObject({ code: 'RATE_LIMITED', details: { retryable: true } });
    expect(refused!.details.retryAfterMs).toBeGreaterThanOrEqual(1_000);
    all[3]!.place.leave();
    expect(refusal(queue, small)).toBeNull();
  });

  it('of one tenant refuses that tenant alone', async () => {
    const { queue, turns } = open({ waitingPerTenantMax: 3 });
    turns(big, 4);
    await settle(2);
    expect(refusal(queue, big)).toMatchObject({ code: 'RATE_LIMITED' });
    expect(refusal(queue, small)).toBeNull();
  });

  it('counts a turn that has a place and is not stored yet', () => {
    const { queue } = open({ waitingMax: 0 });
    const place = queue.enter(big, 'being stored', null);
    expect(refusal(queue, small)).toMatchObject({ code: 'RATE_LIMITED' });
    place.leave();
    place.leave(); // twice is once
    expect(refusal(queue, small)).toBeNull();
  });

  it('says to come back later the slower turns are', async () => {
    const { clock, queue, turns } = open({ waitingMax: 1 });
    const all = turns(big, 2);
    await settle(2);
    const before = refusal(queue, small)!.details.retryAfterMs;
    await clock.advance(55_000);
    all[0]!.place.leave();
    await settle(2);
    turns(big, 1);
    expect(refusal(queue, small)!.details.retryAfterMs).toBeGreaterThan(before);
  });
});

describe('a turn that waits', () => {
  it('longer than the deadline is refused, and holds nothing any more', async () => {
    const { clock, queue, turns } = open({ deadlineMs: 5_000 });
    const [, late] = turns(big, 2);
    await settle(2);
    const ran = expect(late!.ran).rejects.toMatchObject({ code: 'RATE_LIMITED', details: { retryable: true } });
    await clock.advance(5_000);
    await ran;
    expect(queue.waiting()).toBe(0);
  });

  it('and is aborted leaves at once, with the reason; no timer stays behind', async () => {
    const { clock, queue, turns, order, drain } = open();
    const all = turns(big, 3);
    await settle(2);
    const ran = expect(all[1]!.ran).rejects.toBe('CANCELLED');
    all[1]!.control.abort('CANCELLED');
    await ran;
    expect(queue.waiting()).toBe(1);
    await drain([all[0]!, all[2]!]);
    expect(order).toEqual(['big-tenant 1', 'big-tenant 3']);
    expect([queue.running(), queue.waiting(), clock.pending()]).toEqual([0, 0, 0]);
  });

  it('thousands that come and go leave nothing behind', async () => {
    const { clock, queue, turns, drain } = open({ runningMax: 7, waitingMax: 5_000, waitingPerTenantMax: 5_000 });
    const all = [...turns(big, 1_000), ...turns(small, 300)];
    for (const turn of all.filter((_, n) => n % 3 === 0)) turn.place.leave();
    await drain(all);
    expect([queue.running(), queue.waiting(), clock.pending()]).toEqual([0, 0, 0]);
  });
});

describe('places shared between instances', () => {
  /** Slots of which others hold some. */
  function sharedSlots(free: number) {
    const taken = new Set<string>();
    let freed: (tenantId: TenantId) => void = () => undefined;
    const state = { free, asked: 0, failing: false };
    const slots: GenerationSlots = {
      take(_tenantId, turnId) {
        state.asked++;
        if (state.failing) return Promise.reject(new Error('out of reach'));
        if (taken.size >= state.free) return Promise.resolve(false);
        taken.add(turnId);
        return Promise.resolve(true);
      },
      release: (_tenantId, turnId) => Promise.resolve(void taken.delete(turnId)),
      onFreed: (listener) => (freed = listener),
    };
    return { slots, state, taken, free: (tenantId: TenantId) => freed(tenantId) };
  }

  it('a turn whose tenant runs its limit elsewhere waits in its order, and runs when it hears of a free place', async () => {
    const shared = sharedSlots(0);
    const { order, turns, turn, queue } = open({ runningMax: 5 }, shared.slots);
    turns(big, 3, 4);
    turn(small, 'unlimited');
    await settle(5);
    expect(order).toEqual(['unlimited']);
    expect([queue.running(), queue.waiting()]).toEqual([1, 3]);
    shared.state.free = 2;
    shared.free(big);
    await settle(5);
    expect(order).toEqual(['unlimited', 'big-tenant 1', 'big-tenant 2']);
  });

  it('and looks again by itself, once a second', async () => {
    const shared = sharedSlots(0);
    const { clock, order, turns } = open({}, shared.slots);
    turns(big, 2, 1);
    await settle(5);
    const asked = shared.state.asked;
    await clock.advance(1_000);
    expect(shared.state.asked).toBe(asked + 1);
    shared.state.free = 1;
    await clock.advance(1_000);
    expect(order).toEqual(['big-tenant 1']);
  });

  it('a place heard of while one is being asked for changes nothing in their order', async () => {
    const answers: ((taken: boolean) => void)[] = [];
    let freed: (tenantId: TenantId) => void = () => undefined;
    const slots: GenerationSlots = {
      take: () => new Promise((resolve) => answers.push(resolve)),
      release: () => Promise.resolve(),
      onFreed: (listener) => (freed = listener),
    };
    const { order, turns } = open({ runningMax: 5 }, slots);
    turns(big, 3, 4);
    freed(big);
    freed(big);
    await settle(2);
    expect(answers).toHaveLength(1);
    answers[0]!(false);
    await settle(2);
    freed(big);
    for (let asked = 1; asked <= 3; asked++) {
      await settle(2);
      answers[asked]!(true);
    }
    await settle(2);
    expect(order).toEqual(['big-tenant 1', 'big-tenant 2', 'big-tenant 3']);
  });

  it('what was taken is released, also by a turn that left while it was asking', async () => {
    const shared = sharedSlots(1);
    const { turns, queue } = open({ runningMax: 3 }, shared.slots);
    const [leaving, next] = turns(big, 2, 1);
    leaving!.place.leave();
    await settle(5);
    await next!.ran;
    next!.place.leave();
    await settle(5);
    expect(shared.taken.size).toBe(0);
    expect(queue.running()).toBe(0);
  });

  it('when nobody can say what runs elsewhere, the limit holds in this process', async () => {
    const shared = sharedSlots(0);
    shared.state.failing = true;
    const { order, turns } = open({ runningMax: 10 }, shared.slots);
    turns(big, 5, 2);
    await settle(5);
    expect(order).toHaveLength(2);
  });

  it('a place is given back also when the tenant’s limit was taken away meanwhile', async () => {
    const shared = sharedSlots(1);
    const { turns, turn } = open({ runningMax: 3 }, shared.slots);
    const [running] = turns(big, 1, 1);
    await running!.ran;
    turn(big, 'unlimited');
    running!.place.leave();
    await settle(5);
    expect(shared.taken.size).toBe(0);
  });

  it('however often it hears of places that others were faster to take, it looks again once a second', async () => {
    const shared = sharedSlots(0);
    const { clock, turns } = open({}, shared.slots);
    turns(big, 1, 1);
    await settle(5);
    for (let freed = 0; freed < 20; freed++) {
      shared.free(big);
      await settle(2);
    }
    const asked = shared.state.asked;
    await clock.advance(1_000);
    expect(shared.state.asked).toBe(asked + 1);
  });

  it('a turn that is asking for a place is counted once: there is room for another', async () => {
    const { turns, order } = open({ runningMax: 2, waitingMax: 0, waitingPerTenantMax: 0 }, sharedSlots(2).slots);
    turns(big, 2, 2);
    await settle(5);
    expect(order).toHaveLength(2);
  });
});
