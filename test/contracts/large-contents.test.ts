import { expect, it } from 'vitest';
import { aConversation, anOutcome, aTurn, messagesOf, METERING } from '../support/conversation-rows.ts';
import { onEveryEngine } from '../support/dynamodb-storage.ts';
import type { Fate, PassingRequest } from '../support/lossy-proxy.ts';

const [EARLY, LATE, WHOLE] = ['a'.repeat(50_000), 'b'.repeat(60_000), 'c'.repeat(400_000)] as const;

/** Contents that do not fit their message's row stand beside it. Whoever writes and reads at the same time must not see that. */
onEveryEngine('Large contents, written and read at the same time', (storage) => {
  async function open() {
    const tenantId = storage().tenant();
    const { messages } = storage().connect().forTenant(tenantId);
    const conversation = aConversation(tenantId);
    const turn = aTurn(conversation);
    const [, answer] = messagesOf(conversation, turn);
    await messages.add(answer, turn);

    /** Stores whose requests of one kind are held up until `release`; `held` resolves when the first one is. */
    async function slowly(matches: (request: PassingRequest) => boolean) {
      const proxy = await storage().proxy();
      const [held, released] = [Promise.withResolvers<void>(), Promise.withResolvers<Fate>()];
      proxy.decide((request) => {
        if (!matches(request)) return 'pass';
        held.resolve();
        return released.promise;
      });
      return {
        messages: storage().connect({ proxy }).forTenant(tenantId).messages,
        held: held.promise,
        release: () => released.resolve('pass'),
      };
    }

    const rowsBeside = async () => (await storage().rowsOf(tenantId)).filter((row) => 'bytes' in row).length;
    return { tenantId, messages, answer, slowly, rowsBeside };
  }

  it('an end is whole when a checkpoint comes between its two writes', async () => {
    const { messages, answer, slowly } = await open();
    const ending = await slowly(({ operation }) => operation === 'UpdateItem');
    const ended = ending.messages.end(answer.id, anOutcome(WHOLE), METERING);
    await ending.held;
    await messages.checkpoint(answer.id, { content: LATE, metering: METERING });
    ending.release();
    await ended.catch(() => null);
    const [stored] = await messages.getMany([answer.id]);
    expect(stored?.status).toBe('COMPLETED');
    expect(stored?.content === WHOLE).toBe(true);
  });

  it('a checkpoint that is overtaken by the end leaves it as it is', async () => {
    const { messages, answer, slowly, rowsBeside } = await open();
    const slow = await slowly(({ operation }) => operation === 'UpdateItem');
    const checkpoint = slow.messages.checkpoint(answer.id, { content: EARLY, metering: METERING });
    await slow.held;
    await messages.end(answer.id, anOutcome(WHOLE), METERING);
    slow.release();
    await checkpoint;
    const [stored] = await messages.getMany([answer.id]);
    expect(stored?.content === WHOLE).toBe(true);
    expect(await rowsBeside()).toBe(2);
  });

  it.each(['a checkpoint', 'the end'])('a reader whom %s overtakes sees the message, before or after', async (what) => {
    const { messages, answer, slowly } = await open();
    await messages.checkpoint(answer.id, { content: EARLY, metering: METERING });
    const slow = await slowly(({ operation, body }) => operation === 'BatchGetItem' && body.includes('#B#'));
    const read = Promise.allSettled([slow.messages.getMany([answer.id])]);
    await slow.held;
    if (what === 'the end') await messages.end(answer.id, anOutcome(WHOLE), METERING);
    else await messages.checkpoint(answer.id, { content: LATE, metering: METERING });
    slow.release();
    const [result] = await read;
    expect(result.status).toBe('fulfilled');
    const content = result.status === 'fulfilled' ? result.value[0]?.content : undefined;
    expect([EARLY, what === 'the end' ? WHOLE : LATE].some((each) => each === content)).toBe(true);
  });

  it('of many ends and checkpoints at the same time one end is stored whole, and nothing is left beside it', async () => {
    const { messages, answer, rowsBeside } = await open();
    const ends = Array.from({ length: 4 }, (_, n) => String(n).repeat(400_000));
    const results = await Promise.allSettled([
      ...ends.map((content) => messages.end(answer.id, anOutcome(content), METERING)),
      ...Array.from({ length: 4 }, () => messages.checkpoint(answer.id, { content: LATE, metering: METERING })),
    ]);
    expect(results.map(({ status }) => status)).not.toContain('rejected');
    const [stored] = await messages.getMany([answer.id]);
    expect(ends.some((content) => content === stored?.content)).toBe(true);
    expect(await rowsBeside()).toBe(2);
  });
});
