import { expect, it } from 'vitest';
import { tokenUsage } from '../../src/conversations/metering.ts';
import { messageId, type Conversation } from '../../src/conversations/model.ts';
import { aConversation, answerIdOf, anOutcome, aTurn, messagesOf, METERING } from '../support/conversation-rows.ts';
import { onEveryEngine } from '../support/dynamodb-storage.ts';

/** Three bytes each in UTF-8, so that bytes and characters cannot be mistaken for one another. */
const wide = (characters: number, character = '語'): string => character.repeat(characters);

onEveryEngine('MessageStore', (storage) => {
  const open = () => {
    const tenantId = storage().tenant();
    const { messages } = storage().connect().forTenant(tenantId);
    const conversation = aConversation(tenantId);
    return { tenantId, messages, conversation, turn: aTurn(conversation) };
  };

  async function withTurn() {
    const opened = open();
    const [question, answer] = messagesOf(opened.conversation, opened.turn);
    await opened.messages.add(question, opened.turn);
    await opened.messages.add(answer, opened.turn);
    return { ...opened, question, answer };
  }

  it('what was added is read back as it was, with its turn', async () => {
    const { messages, question, answer, turn } = await withTurn();
    expect(await messages.getMany([answer.id, question.id])).toEqual([answer, question]);
    expect(await messages.turnKey(answer.id)).toBe(turn.key);
    expect(await messages.draft(answer.id)).toEqual({ message: answer, metering: null });
  });

  it('adding again changes nothing: not the row, not a large content, not an answer that has ended', async () => {
    const { messages, question, answer, turn } = await withTurn();
    await messages.add({ ...question, content: 'other' }, aTurn(open().conversation));
    expect(await messages.getMany([question.id])).toEqual([question]);
    expect(await messages.turnKey(question.id)).toBe(turn.key);

    const large = wide(40_000);
    await messages.end(answer.id, anOutcome(large), METERING);
    await messages.add(answer, turn);
    await messages.add({ ...answer, content: wide(40_000, '字') }, turn);
    const [stored] = await messages.getMany([answer.id]);
    expect(stored?.status).toBe('COMPLETED');
    expect(stored?.content === large).toBe(true);
  });

  it('many are read in the order asked for, duplicates included, null for what is absent or no id', async () => {
    const { messages, conversation, question, answer } = await withTurn();
    const ids = [answer.id, 'msg-nonsense', messageId(conversation.id, 3), question.id, answer.id, '', conversation.id];
    expect(await messages.getMany(ids)).toEqual([answer, null, null, question, answer, null, null]);
    expect(await messages.turnKey('msg-nonsense')).toBeNull();
    expect(await messages.draft('msg-nonsense')).toBeNull();
    expect(await messages.end('msg-nonsense', anOutcome('x'), METERING)).toBeNull();
    await messages.checkpoint('msg-nonsense', { content: 'x', metering: METERING });
  });

  it("another tenant's messages are absent for every method", async () => {
    const { messages, conversation, answer } = await withTurn();
    const { messages: foreign } = open();
    expect(await foreign.getMany([answer.id])).toEqual([null]);
    expect(await foreign.range(conversation.id, 1, 2)).toEqual([]);
    expect(await foreign.turnKey(answer.id)).toBeNull();
    expect(await foreign.draft(answer.id)).toBeNull();
    await foreign.checkpoint(answer.id, { content: 'theirs', metering: METERING });
    expect(await foreign.end(answer.id, anOutcome('theirs'), METERING)).toBeNull();
    expect(await messages.getMany([answer.id])).toEqual([answer]);
  });

  it('a range holds both its ends, in order, across 9 → 10 and 99 → 100, and skips what is missing', async () => {
    const { messages, conversation } = open();
    for (let index = 0; index < 55; index++) {
      if (index === 20) continue;
      const turn = aTurn(conversation);
      await Promise.all(messagesOf(conversation, turn, index).map((message) => messages.add(message, turn)));
    }
    const numbers = async (from: number, to: number) =>
      (await messages.range(conversation.id, from, to)).map(({ sequence }) => sequence);
    expect(await numbers(8, 11)).toEqual([8, 9, 10, 11]);
    expect(await numbers(98, 101)).toEqual([98, 99, 100, 101]);
    expect(await numbers(39, 44)).toEqual([39, 40, 43, 44]);
    expect(await numbers(1, 110)).toHaveLength(108);
    expect(await numbers(109, 300)).toEqual([109, 110]);
    expect(await numbers(5, 5)).toEqual([5]);
  });

  it('a range over several megabytes is whole', async () => {
    const { messages, conversation } = open();
    const contents = Array.from({ length: 80 }, (_, n) => String.fromCharCode(97 + (n % 26)).repeat(31_000 + n));
    await Promise.all(
      contents.map((content, index) => {
        const turn = aTurn(conversation);
        return messages.add({ ...messagesOf(conversation, turn)[0], sequence: index + 1, content }, turn);
      }),
    );
    const found = await messages.range(conversation.id, 1, 80);
    expect(found.map(({ content }) => content).join('') === contents.join('')).toBe(true);
  });

  it.each([
    ['exactly 32 KiB', 'x'.repeat(32 * 1024)],
    ['one byte more', 'x'.repeat(32 * 1024 + 1)],
    ['a character across every boundary of 300 KiB', `a${wide(250_000)}`],
    ['over 2 MB', wide(700_000)],
    ['surrogate pairs', '🚀'.repeat(100_000)],
  ])('a content of %s comes back as it was, by id and by range', async (_name, content) => {
    const { messages, conversation, answer } = await withTurn();
    const ended = await messages.end(answer.id, anOutcome(content), METERING);
    expect(ended?.message.content === content).toBe(true);
    const [byId] = await messages.getMany([answer.id]);
    const [byRange] = await messages.range(conversation.id, 2, 2);
    expect(byId?.content === content && byRange?.content === content).toBe(true);
  });

  it('large contents beyond what one batch returns are all read: what is left unprocessed is asked for again', async () => {
    const { messages, conversation } = open();
    const contents = Array.from({ length: 8 }, (_, n) => String.fromCharCode(97 + n).repeat(290_000));
    await addLarge(messages, conversation, contents);
    const found = await messages.range(conversation.id, 1, contents.length);
    expect(found.map(({ content }) => content).join('') === contents.join('')).toBe(true);
  });

  it('a page of 20 answers of a megabyte each is read, however many batches it takes', async () => {
    const { messages, conversation } = open();
    const contents = Array.from({ length: 20 }, (_, n) => String.fromCharCode(97 + n).repeat(1_000_000));
    await addLarge(messages, conversation, contents);
    const found = await messages.range(conversation.id, 1, contents.length);
    expect(found.map(({ content }) => content).join('') === contents.join('')).toBe(true);
  });

  async function addLarge(
    messages: ReturnType<typeof open>['messages'],
    conversation: Conversation,
    contents: readonly string[],
  ) {
    for (const [index, content] of contents.entries()) {
      const turn = aTurn(conversation);
      const id = messageId(conversation.id, index + 1);
      await messages.add({ ...messagesOf(conversation, turn)[0], id, sequence: index + 1, content }, turn);
    }
  }

  it('a checkpoint keeps text and usage, which only the draft shows', async () => {
    const { messages, answer } = await withTurn();
    await messages.checkpoint(answer.id, { content: 'So far', metering: METERING });
    expect(await messages.getMany([answer.id])).toEqual([{ ...answer, content: 'So far' }]);
    expect(await messages.draft(answer.id)).toEqual({ message: { ...answer, content: 'So far' }, metering: METERING });
  });

  it('an end is stored whole, and its usage is then shown', async () => {
    const { messages, answer } = await withTurn();
    const citation = { text: 'Within 30 days.', source: 's3://docs/refunds.md', title: 'Refunds' };
    const outcome = anOutcome('All of it', { citations: [citation] });
    const expected = { ...answer, ...outcome, usage: tokenUsage(METERING) };
    expect(await messages.end(answer.id, outcome, METERING)).toEqual({ message: expected, metering: METERING });
    expect(await messages.getMany([answer.id])).toEqual([expected]);
  });

  it('the first of racing ends wins, and every caller is told the same', async () => {
    const { messages, answer } = await withTurn();
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        messages.end(answer.id, anOutcome(`end ${n}`), { ...METERING, inputTokens: n }),
      ),
    );
    const [stored] = await messages.getMany([answer.id]);
    expect(new Set(results.map((result) => result?.message.content))).toEqual(new Set([stored?.content]));
    expect(new Set(results.map((result) => result?.metering?.inputTokens)).size).toBe(1);
  });

  it('a later end of a large answer changes no byte of the first', async () => {
    const { messages, answer } = await withTurn();
    const first = wide(150_000);
    await messages.end(answer.id, anOutcome(first), METERING);
    const second = await messages.end(answer.id, anOutcome(wide(150_000, '字'), { status: 'FAILED' }), {
      ...METERING,
      inputTokens: 1,
    });
    expect(second?.message.status).toBe('COMPLETED');
    expect(second?.message.content === first).toBe(true);
    expect((await messages.getMany([answer.id]))[0]?.content === first).toBe(true);
  });

  it('a checkpoint after the end changes nothing, however large', async () => {
    const { messages, answer } = await withTurn();
    const whole = wide(150_000);
    const ended = await messages.end(answer.id, anOutcome(whole), METERING);
    await messages.checkpoint(answer.id, { content: 'zombie', metering: { ...METERING, inputTokens: 1 } });
    await messages.checkpoint(answer.id, { content: whole.slice(0, 20_000), metering: METERING });
    const after = await messages.draft(answer.id);
    expect(after?.message.content === whole).toBe(true);
    expect(after?.metering).toEqual(ended?.metering);
  });

  it('a text that was checkpointed and then withheld is stored nowhere any more', async () => {
    const { tenantId, messages, answer } = await withTurn();
    await messages.checkpoint(answer.id, { content: `SECRET ${'x'.repeat(100_000)}`, metering: METERING });
    await messages.end(answer.id, anOutcome('', { status: 'FAILED' }), METERING);
    const rows = await storage().rowsOf(tenantId);
    expect(rows.filter((row) => 'bytes' in row).map(({ PK }) => PK)).toEqual([]);
  });

  it('an answer with hundreds of long citations can be ended', async () => {
    const { messages, answer } = await withTurn();
    const citations = Array.from({ length: 300 }, (_, n) => ({
      text: `${n} ${'x'.repeat(2_000)}`,
      source: null,
      title: null,
    }));
    const ended = await messages.end(answer.id, anOutcome('Done.', { citations }), METERING);
    expect(ended?.message.status).toBe('COMPLETED');
  });

  it('the end of an answer that is not there creates nothing', async () => {
    const { tenantId, messages, conversation } = open();
    expect(await messages.end(answerIdOf(conversation), anOutcome('x'), METERING)).toBeNull();
    await messages.checkpoint(answerIdOf(conversation), { content: wide(20_000), metering: METERING });
    expect((await storage().rowsOf(tenantId)).map(({ PK }) => PK)).toEqual([]);
  });
});
