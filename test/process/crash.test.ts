import { afterEach, expect, it } from 'vitest';
import { start } from '../../src/main.ts';
import { createTestClock } from '../support/clock.ts';
import { captureLog } from '../support/log-capture.ts';
import { dataFolder, startProduct, type ProductProcess } from '../support/product-process.ts';
import { signInAt, type RemoteCaller } from '../support/remote-caller.ts';
import { testConfig } from '../support/world.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A turn may be taken over once its lease has run out, and deletions likewise. */
const LEASE_MS = 60_000;

function run(dataDir: string): ProductProcess {
  const product = startProduct({ DATA_DIR: dataDir, EMULATOR_CHUNKS_PER_SECOND: '200', STREAM_COALESCE_MS: '0' });
  cleanups.push(() => product.destroy());
  return product;
}

function folder(): string {
  const { path, remove } = dataFolder();
  cleanups.push(remove);
  return path;
}

async function kill(product: ProductProcess) {
  product.kill('SIGKILL');
  expect((await product.exit).signal).toBe('SIGKILL');
}

/** The product on what a dead process left, at a time when the dead one's leases have run out. */
async function restartLater(dataDir: string, laterMs = LEASE_MS + 1_000) {
  const clock = createTestClock(Date.now() + laterMs);
  const { log, lines, text } = captureLog('warn');
  const product = await start({ ...testConfig(), dataDir }, { clock, log });
  cleanups.push(() => product.stop());
  return { product, clock, lines, logText: text, member: await signInAt(product.url) };
}

interface Acknowledged {
  readonly conversationId: string;
  readonly content: string;
  readonly userMessageId: string;
  readonly answerId: string;
}

/** Starts conversations and sends in them, writing down only what the server has acknowledged, until it dies. */
async function writeUntilDeath(
  member: RemoteCaller,
  writer: number,
  note: (turn: Acknowledged) => void,
  created: string[],
) {
  try {
    for (let n = 0; ; n++) {
      const conversationId = await member.createConversation(`writer ${writer}, conversation ${n}`);
      created.push(conversationId);
      const content = `[[emulate chunks=${20 + n}]] message ${n} of writer ${writer}`;
      const { userMessage, assistantMessage } = await member.send(conversationId, content);
      note({ conversationId, content, userMessageId: userMessage.id, answerId: assistantMessage.id });
    }
  } catch {
    // it died: what was under way was not acknowledged
  }
}

const READ = `query($id: ID!) {
  conversation(id: $id) { title messageCount messages(first: 10) { nodes { id role status content error { code } } } }
}`;

it('kill -9 under load of sendMessage: every acknowledged write is there, interrupted turns are repaired, and every conversation is usable', async () => {
  const dataDir = folder();
  const first = run(dataDir);
  const member = await signInAt(await first.url);
  const acknowledged: Acknowledged[] = [];
  const created: string[] = [];
  const enough = Promise.withResolvers<void>();
  const writers = [0, 1, 2, 3].map((writer) =>
    writeUntilDeath(
      member,
      writer,
      (turn) => {
        if (acknowledged.push(turn) === 60) enough.resolve();
      },
      created,
    ),
  );
  await enough.promise;
  await kill(first);
  await Promise.all(writers);

  const { member: again, clock, lines, logText } = await restartLater(dataDir);
  for (const { conversationId, content, userMessageId, answerId } of acknowledged) {
    const { conversation } = await again.run(READ, { id: conversationId });
    expect(conversation.messageCount).toBe(2);
    const [question, answer] = conversation.messages.nodes;
    expect(question).toMatchObject({ id: userMessageId, role: 'USER', status: 'COMPLETED', content });
    expect(answer).toMatchObject({ id: answerId, role: 'ASSISTANT' });
  }
  for (const id of created) expect((await again.run(READ, { id })).conversation).not.toBeNull();

  // The sweep that begins with the start, and those after it.
  const statuses = async () =>
    Promise.all(acknowledged.map(async ({ answerId }) => (await again.message(answerId))?.status));
  for (let round = 0; round < 20 && (await statuses()).includes('STREAMING'); round++) await clock.advance(10_000);
  const repaired: string[] = [];
  for (const { answerId } of acknowledged) {
    const message = await again.message(answerId);
    if (message?.status === 'COMPLETED') continue;
    expect(message).toMatchObject({ status: 'FAILED', error: { code: 'INTERRUPTED', retryable: true } });
    repaired.push(answerId);
  }
  expect(repaired.length).toBeGreaterThan(0); // the kill did hit running turns
  expect(lines.filter(({ msg }) => msg === 'repaired').length).toBeGreaterThanOrEqual(repaired.length);
  expect(logText()).not.toContain('repair failed');

  for (const { conversationId } of acknowledged.filter(({ answerId }) => repaired.includes(answerId)).slice(0, 5)) {
    const next = await again.send(conversationId, 'and now?', { waitForCompletion: true });
    expect(next.assistantMessage.status).toBe('COMPLETED');
    expect((await again.run(READ, { id: conversationId })).conversation.messageCount).toBe(4);
  }
});

it('until its lease has run out an interrupted turn is left alone, and its reader waits for the one terminal event', async () => {
  const dataDir = folder();
  const first = run(dataDir);
  const member = await signInAt(await first.url);
  const conversationId = await member.createConversation();
  const content = '[[emulate chunks=10 stall=true after=5]] hello';
  const { assistantMessage } = await member.send(conversationId, content, { idempotencyKey: 'once' });
  await member.follow(assistantMessage.id, ({ sequence }) => {
    if (sequence === 3) first.kill('SIGKILL');
  });
  await first.exit;

  const { member: again, clock } = await restartLater(dataDir, 0);
  expect(await again.message(assistantMessage.id)).toMatchObject({ status: 'STREAMING' });
  await expect(again.send(conversationId, 'impatient')).rejects.toThrow('CONVERSATION_BUSY');
  // The key still names the first call's turn.
  const attached = await again.send(conversationId, content, { idempotencyKey: 'once' });
  expect(attached.assistantMessage.id).toBe(assistantMessage.id);

  const following = again.follow(assistantMessage.id);
  let done = false;
  void following.then(() => (done = true));
  // A request between the steps gives the store the time it takes; within the life of a token in any case.
  for (let step = 0; step < 300 && !done; step++) {
    await again.message(assistantMessage.id);
    await clock.advance(2_000);
  }
  const { events, completed } = await following;
  expect(completed).toBe(true);
  expect(events).toMatchObject([
    { __typename: 'MessageFailed', message: { status: 'FAILED', error: { code: 'INTERRUPTED' } } },
  ]);
  expect(await again.message(assistantMessage.id)).toMatchObject({ status: 'FAILED' });
});

it('kill -9 while conversations are being deleted: none comes back, and a deletion is never half', async () => {
  const dataDir = folder();
  const first = run(dataDir);
  const member = await signInAt(await first.url);
  const ids: string[] = [];
  for (let n = 0; n < 10; n++) {
    const id = await member.createConversation();
    await member.send(id, '[[emulate chunks=1]] hello', { waitForCompletion: true });
    ids.push(id);
  }
  const deleted: string[] = [];
  const remove = `mutation($input: DeleteConversationInput!) { deleteConversation(input: $input) { deletedConversationId } }`;
  const deletions = ids.map((id) =>
    member.run(remove, { input: { conversationId: id } }).then(
      () => {
        if (deleted.push(id) === 3) first.kill('SIGKILL');
      },
      () => undefined,
    ),
  );
  await Promise.all(deletions);
  await first.exit;

  const { member: again, clock, logText } = await restartLater(dataDir);
  await clock.advance(20_000);
  for (const id of deleted) expect((await again.run(READ, { id })).conversation).toBeNull();
  const list = await again.run('{ conversations(first: 100) { nodes { id messages { nodes { id } } } } }');
  const kept = list.conversations.nodes as { id: string; messages: { nodes: unknown[] } }[];
  for (const { id, messages } of kept) {
    expect(deleted).not.toContain(id);
    expect(messages.nodes).toHaveLength(2);
  }
  expect(logText()).not.toContain('repair failed');
});
