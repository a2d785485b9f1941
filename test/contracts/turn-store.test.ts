import { expect, it } from 'vitest';
import type { DueWork } from '../../src/conversations/ports.ts';
import type { Turn } from '../../src/conversations/model.ts';
import { aConversation, aTurn } from '../support/conversation-rows.ts';
import { createMovableClock, onEveryEngine } from '../support/dynamodb-storage.ts';

const MINUTE = 60_000;

onEveryEngine('TurnStore and DueWorkStore', (storage) => {
  function open() {
    const clock = createMovableClock();
    const tenantId = storage().tenant();
    const process = () => {
      const db = storage().connect({ clock });
      return { turns: db.forTenant(tenantId).turns, due: (now: number) => db.due.due(now) };
    };
    const turn = aTurn(aConversation(tenantId), { leaseUntil: clock.now() + MINUTE });
    return { clock, tenantId, process, turn, mine: process(), other: process() };
  }

  async function opened() {
    const all = open();
    await all.mine.turns.open(all.turn);
    return all;
  }

  const dueOf = async ({ tenantId, mine }: ReturnType<typeof open>, now: number): Promise<DueWork[]> =>
    (await mine.due(now)).filter((work) => work.tenantId === tenantId);

  it('an opened turn is read back as it was', async () => {
    const { mine, turn } = await opened();
    expect(await mine.turns.get(turn.key)).toEqual(turn);
    expect(await mine.turns.get('nobody')).toBeNull();
  });

  it('of 20 turns with the same key one is opened, and the others are told of it', async () => {
    const { mine, other, turn } = open();
    const turns: Turn[] = Array.from({ length: 20 }, () => ({
      ...aTurn(aConversation(turn.tenantId)),
      key: 'samekey',
    }));
    const results = await Promise.all(turns.map((each, n) => (n % 2 ? mine : other).turns.open(each)));
    const winner = turns[results.findIndex(({ opened }) => opened)]!;
    expect(results.filter(({ opened }) => opened)).toHaveLength(1);
    for (const result of results) if (!result.opened) expect(result.existing).toEqual(winner);
  });

  it("another tenant's turn with the same key is another turn", async () => {
    const { turn } = await opened();
    const { tenantId, mine } = open();
    expect(await mine.turns.get(turn.key)).toBeNull();
    expect(await mine.turns.claim(turn.key, turn.leaseUntil + MINUTE, 0)).toBeNull();
    expect(await mine.turns.requestCancel(turn.key)).toBeNull();
    expect(await mine.turns.open({ ...turn, tenantId })).toEqual({ opened: true });
  });

  it('its place is noted by its holder only', async () => {
    const { mine, other, turn } = await opened();
    expect(await other.turns.placed(turn, 99)).toBeNull();
    expect((await mine.turns.get(turn.key))?.sequence).toBeNull();
    expect(await mine.turns.placed(turn, 3)).toEqual({ ...turn, sequence: 3 });
    expect((await mine.turns.get(turn.key))?.sequence).toBe(3);
  });

  it('its holder renews it and hears of a cancellation; nobody else can', async () => {
    const { clock, mine, other, turn } = await opened();
    const later = clock.now() + 5 * MINUTE;
    expect(await other.turns.renew(turn, later)).toBeNull();
    expect(await mine.turns.renew(turn, later)).toEqual({ ...turn, leaseUntil: later });
    expect(await other.turns.requestCancel(turn.key)).toMatchObject({ id: turn.id, cancelRequested: true });
    expect(await mine.turns.renew(turn, later)).toMatchObject({ cancelRequested: true, leaseUntil: later });
  });

  it('another turn that has the same key is not renewed, placed or finished by mistake', async () => {
    const { mine, turn } = await opened();
    const imposter = { ...turn, id: aTurn(aConversation(turn.tenantId)).id };
    expect(await mine.turns.renew(imposter, 0)).toBeNull();
    await mine.turns.placed(imposter, 9);
    await mine.turns.finish(imposter, Date.now() + MINUTE);
    expect(await mine.turns.get(turn.key)).toEqual(turn);
  });

  it('a lease that runs cannot be claimed; one that ran out can, by one of many', async () => {
    const { clock, mine, process, turn } = await opened();
    expect(await mine.turns.claim(turn.key, turn.leaseUntil, clock.now())).toBeNull();
    const now = turn.leaseUntil + 1;
    const claims = await Promise.all(
      Array.from({ length: 20 }, () => process().turns.claim(turn.key, now, now + MINUTE)),
    );
    expect(claims.filter((claim) => claim !== null)).toEqual([
      { ...turn, leaseUntil: now + MINUTE, repairs: 1, unmetered: null },
    ]);
  });

  it('a holder whose turn was claimed is fenced: it neither renews, places, finishes nor discards it', async () => {
    const { mine, other, turn } = await opened();
    const now = turn.leaseUntil + 1;
    await other.turns.claim(turn.key, now, now + MINUTE);
    expect(await mine.turns.renew(turn, now + 9 * MINUTE)).toBeNull();
    expect(await mine.turns.placed(turn, 9)).toBeNull();
    await mine.turns.finish(turn, now + MINUTE);
    expect(await mine.turns.get(turn.key)).toEqual({ ...turn, leaseUntil: now + MINUTE, repairs: 1 });
    await mine.turns.discard(turn);
    expect(await mine.turns.get(turn.key)).not.toBeNull();
    expect(await other.turns.renew(turn, now + 2 * MINUTE)).not.toBeNull();
  });

  it('a turn that ended before it had messages frees its key, for one of many', async () => {
    const { clock, mine, process, turn } = await opened();
    await mine.turns.finish(turn, clock.now() + MINUTE);
    const next = Array.from({ length: 10 }, () => ({ ...aTurn(aConversation(turn.tenantId)), key: turn.key }));
    const results = await Promise.all(next.map((each) => process().turns.open(each)));
    const winner = next[results.findIndex(({ opened }) => opened)];
    expect(results.filter(({ opened }) => opened)).toHaveLength(1);
    expect(await mine.turns.get(turn.key)).toEqual(winner);
    expect(await mine.turns.renew(turn, clock.now() + MINUTE)).toBeNull();
    expect(await mine.turns.placed(turn, 1)).toBeNull();
    clock.move(2 * MINUTE);
    expect(await mine.turns.get(turn.key)).toEqual(winner);
  });

  it('a finished turn is done for everybody, and its key is kept until its time', async () => {
    const { clock, mine, other, turn } = await opened();
    await mine.turns.placed(turn, 1);
    await mine.turns.finish(turn, clock.now() + MINUTE);
    // The content is in the messages by then, and must not outlive them here.
    expect(await mine.turns.get(turn.key)).toEqual({ ...turn, sequence: 1, content: null, done: true });
    expect(await mine.turns.renew(turn, clock.now() + MINUTE)).toBeNull();
    expect(await mine.turns.placed(turn, 9)).toBeNull();
    expect(await other.turns.claim(turn.key, clock.now() + 60 * MINUTE, 0)).toBeNull();
    expect(await mine.turns.requestCancel(turn.key)).toBeNull();
    expect(await mine.turns.open({ ...turn, id: 'another' })).toMatchObject({
      opened: false,
      existing: { done: true },
    });

    clock.move(MINUTE + 1_000);
    expect(await mine.turns.get(turn.key)).toBeNull();
    expect(await mine.turns.open({ ...turn, content: 'again' })).toEqual({ opened: true });
    expect(await mine.turns.get(turn.key)).toMatchObject({ content: 'again', done: false });
  });

  it('a discarded turn frees its key, and is due no more', async () => {
    const all = await opened();
    await all.mine.turns.discard(all.turn);
    expect(await all.mine.turns.get(all.turn.key)).toBeNull();
    expect(await all.mine.turns.open(all.turn)).toEqual({ opened: true });
  });

  it('a turn is due from the end of its lease until it is done, wherever it is in its life', async () => {
    const all = await opened();
    const { turn, tenantId, mine, other } = all;
    const work = [{ kind: 'TURN', tenantId, turnKey: turn.key }];
    expect(await dueOf(all, turn.leaseUntil - 1)).toEqual([]);
    expect(await dueOf(all, turn.leaseUntil + 1)).toEqual(work);
    const renewed = turn.leaseUntil + MINUTE;
    await mine.turns.renew(turn, renewed);
    expect(await dueOf(all, turn.leaseUntil + 1)).toEqual([]);
    expect(await dueOf(all, renewed + 1)).toEqual(work);
    await other.turns.claim(turn.key, renewed + 1, renewed + MINUTE);
    expect(await dueOf(all, renewed + 2)).toEqual([]);
    expect(await dueOf(all, renewed + MINUTE + 1)).toEqual(work);
    await other.turns.finish(turn, renewed + MINUTE);
    expect(await dueOf(all, renewed + 60 * MINUTE)).toEqual([]);
  });

  it('a deletion is due from its time until it is purged, and names its tenant', async () => {
    const { clock, tenantId } = open();
    const db = storage().connect({ clock });
    const { conversations } = db.forTenant(tenantId);
    const conversation = aConversation(tenantId);
    await conversations.create(conversation);
    await conversations.markDeleting(conversation.id, clock.now() + MINUTE);
    const due = async (now: number) => (await db.due.due(now)).filter((work) => work.tenantId === tenantId);
    expect(await due(clock.now())).toEqual([]);
    expect(await due(clock.now() + 2 * MINUTE)).toEqual([
      { kind: 'DELETION', tenantId, conversationId: conversation.id },
    ]);
    await conversations.purge(conversation.id);
    expect(await due(clock.now() + 60 * MINUTE)).toEqual([]);
  });

  it('due work of many tenants is found, each piece once', async () => {
    const clock = createMovableClock();
    const db = storage().connect({ clock });
    const turns = Array.from({ length: 40 }, () =>
      aTurn(aConversation(storage().tenant()), { leaseUntil: clock.now() }),
    );
    await Promise.all(turns.map((turn) => db.forTenant(turn.tenantId).turns.open(turn)));
    const keys = (await db.due.due(clock.now() + MINUTE)).flatMap((work) =>
      work.kind === 'TURN' ? [work.turnKey] : [],
    );
    expect(keys.filter((key) => turns.some((turn) => turn.key === key)).toSorted()).toEqual(
      turns.map(({ key }) => key).toSorted(),
    );
  });
});
