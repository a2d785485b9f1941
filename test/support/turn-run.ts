import type { Message, StreamEvent } from '../../src/conversations/model.ts';
import { isTerminal } from '../../src/conversations/model.ts';
import type { AnswerPart } from '../../src/conversations/ports.ts';
import type { SentTurn } from '../../src/conversations/turns.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { settle } from './clock.ts';
import { aConversation } from './conversation-rows.ts';
import type { Storage } from './dynamodb-storage.ts';
import { createSharedStreams } from './shared-streams.ts';
import { createStoreGate, type GateMember } from './store-gate.ts';
import { openBench, type Answering, type Process } from './turn-bench.ts';

/** A process, and what it takes to end it. */
export interface Instance {
  readonly process: Process;
  readonly gate: GateMember;
}

/** A send, and what its caller heard of it; a caller whose process died heard nothing. */
export interface Sent {
  readonly conversationId: string;
  readonly key: string | null;
  readonly content: string;
  /** What a send with this key had been answered with before this one was made. */
  readonly before: Sent | null;
  readonly instance: Instance;
  readonly at: number;
  result: SentTurn | null;
  error: unknown;
}

/** What an agent was asked, and what it said so far. */
export interface Asked {
  readonly text: string;
  readonly answering: Answering;
  readonly instance: Instance;
  readonly parts: AnswerPart[];
  end: 'OPEN' | 'ENDED' | 'FAILED';
}

/** Somebody who reads a stream. */
export interface Reader {
  readonly messageId: string;
  readonly after: number;
  readonly instance: Instance;
  readonly events: StreamEvent[];
  state: 'READING' | 'DONE' | 'BROKEN' | 'LEFT';
  error: unknown;
  leave: () => void;
}

export interface RunOptions {
  /** Whether the processes see each other's streams. */
  readonly shared: boolean;
  readonly runningMax: number;
  readonly coalesceMs: number;
}

/** Two processes at a time that serve two conversations; whatever happens in it is noted. */
export async function openRun(storage: Storage, { shared, runningMax, coalesceMs }: RunOptions) {
  const bench = await openBench(storage);
  const { clock, tenantId } = bench;
  const other = { ...aConversation(tenantId), ownerId: bench.conversation.ownerId };
  await bench.direct.conversations.create(other);
  const conversations = [bench.conversation.id, other.id];

  const sent: Sent[] = [];
  const asked: Asked[] = [];
  const readers: Reader[] = [];
  const cancelled: Message[] = [];
  /** Whatever no step may throw. */
  const faults: unknown[] = [];
  /** Each answer's end as it was first seen. */
  const ends = new Map<string, string>();
  const answers = new Set<string>();

  /** An end that was seen stays as it is. */
  function seen(message: Message) {
    if (message.role !== 'ASSISTANT' || message.status === 'STREAMING') return;
    const text = JSON.stringify(message, Object.keys(message).sort());
    const first = ends.get(message.id) ?? text;
    ends.set(message.id, first);
    if (text !== first) faults.push(new Error(`An answer changed after its end:\n${first}\n${text}`));
  }

  const gate = createStoreGate((name, result) => {
    if (name === 'messages.end' || name === 'messages.draft') {
      const ended = result as { readonly message: Message } | null;
      if (ended) seen(ended.message);
    }
  });
  const sharedStreams = createSharedStreams(tenantId, clock);

  function startProcess(): Instance {
    const member = gate.member();
    const process = bench.process({
      gate: member,
      runningMax,
      coalesceMs,
      ...(shared && { streams: sharedStreams() }),
    });
    const instance = { process, gate: member };
    void (async () => {
      for (;;) {
        const answering = await process.script.next();
        const parts: AnswerPart[] = [{ type: 'attempt', aliasId: 'ALIAS' }];
        asked.push({ text: answering.question.text, answering, instance, parts, end: 'OPEN' });
      }
    })();
    return instance;
  }

  const instances = [startProcess(), startProcess()];
  const at = (index: number): Instance => instances[index % instances.length]!;

  function replaceDead() {
    for (const [index, { gate }] of instances.entries()) if (!gate.alive()) instances[index] = startProcess();
  }

  function send(index: number, conversation: number, key: string | null, content: string): Sent {
    const conversationId = conversations[conversation % conversations.length]!;
    const same = (each: Sent) => key !== null && each.key === key && each.conversationId === conversationId;
    const before = sent.find((each) => same(each) && each.result) ?? null;
    const instance = at(index);
    const one: Sent = { conversationId, key, content, before, instance, at: clock.now(), result: null, error: null };
    sent.push(one);
    const input = { conversationId, content, idempotencyKey: key };
    instance.process
      .request()
      .turns.send(input)
      .then(
        (result) => {
          one.result = result;
          answers.add(result.assistantMessage.id);
          seen(result.assistantMessage);
        },
        (error: unknown) => {
          one.error = error;
        },
      );
    return one;
  }

  const answerIds = () => [...answers];

  function cancel(index: number, answer: number) {
    const id = answerIds()[answer % Math.max(1, answers.size)];
    if (id === undefined) return;
    at(index)
      .process.request()
      .turns.cancel(id)
      .then(
        (message) => {
          cancelled.push(message);
          seen(message);
        },
        (error: unknown) => faults.push(error),
      );
  }

  /** A reader; where the stream breaks off under it, another one goes on where it stopped. */
  function read(instance: Instance, messageId: string, after: number) {
    const reader: Reader = {
      messageId,
      after,
      instance,
      events: [],
      state: 'READING',
      error: null,
      leave: () => undefined,
    };
    readers.push(reader);
    void (async () => {
      const events = await instance.process.request().turns.watch(messageId, after);
      reader.leave = () => {
        if (reader.state === 'READING') reader.state = 'LEFT';
        void events.return?.();
      };
      if (reader.state === 'LEFT') return reader.leave();
      for await (const event of events) {
        reader.events.push(event);
        if (isTerminal(event)) seen(event.message);
      }
      if (reader.state === 'READING') reader.state = 'DONE';
    })().catch((error: unknown) => {
      if (error instanceof AppError && error.code === 'INTERRUPTED') {
        reader.state = 'BROKEN';
        read(instance, messageId, reader.events.at(-1)?.sequence ?? after);
      } else faults.push(error);
    });
  }

  function watch(index: number, answer: number, after: number) {
    const id = answerIds()[answer % Math.max(1, answers.size)];
    if (id !== undefined) read(at(index), id, after);
  }

  function resume(index: number, which: number) {
    const before = readers[which % Math.max(1, readers.length)];
    if (!before) return;
    before.leave();
    read(at(index), before.messageId, before.events.at(-1)?.sequence ?? before.after);
  }

  function leave(which: number) {
    const reader = readers[which % Math.max(1, readers.length)];
    if (!reader) return;
    if (reader.state === 'READING') reader.state = 'LEFT';
    reader.leave();
  }

  const speaking = () =>
    asked.filter(
      ({ end, instance, answering }) => end === 'OPEN' && instance.gate.alive() && !answering.signal.aborted,
    );

  function give(which: number, parts: readonly AnswerPart[], end: Asked['end'] = 'OPEN') {
    const open = speaking();
    const one = open[which % Math.max(1, open.length)];
    if (!one) return;
    for (const part of parts) {
      one.parts.push(part);
      one.answering.give(part);
    }
    one.end = end;
    if (end === 'ENDED') one.answering.end();
    if (end === 'FAILED') one.answering.fail(new AppError('AGENT_UNAVAILABLE', 'It failed.', { retryable: true }));
  }

  const sweep = (indexes: readonly number[]) => {
    for (const index of indexes)
      at(index)
        .process.sweeper.sweep()
        .catch((error: unknown) => faults.push(error));
  };

  /** Time in which everything that waits goes on. */
  async function calm(ms: number, stepMs = 1_000) {
    for (let passed = 0; passed < ms; passed += stepMs) {
      await clock.advance(Math.min(stepMs, ms - passed));
      await gate.drain();
    }
  }

  /** Stops a process for a while, while an agent goes on, and the other process sweeps and does `calls` calls; then it goes on as if nothing had happened. */
  async function stall(
    index: number,
    ms: number,
    {
      calls,
      parts,
      end,
    }: { readonly calls: number; readonly parts: readonly AnswerPart[]; readonly end: Asked['end'] },
  ) {
    const { gate: stopped } = at(index);
    stopped.freeze(true);
    const own = speaking().findIndex(({ instance }) => instance === at(index));
    if (own >= 0) give(own, parts, end);
    await calm(ms, 10_000);
    sweep([index + 1]);
    for (let done = 0; done < calls; done++) await gate.release();
    replaceDead();
    stopped.freeze(false);
  }

  const dueLater = async () =>
    (await bench.dueStore.due(clock.now() + 3_600_000)).filter((work) => work.tenantId === tenantId);

  async function endAgents() {
    await gate.drain();
    for (let open = speaking(); open.length > 0; open = speaking()) {
      for (const _ of open) give(0, [{ type: 'text', text: 'And so on. ' }], 'ENDED');
      await gate.drain();
    }
  }

  /** Everything ends: the agents, the waits, and by two sweepers at once what nobody ends any more. */
  async function toQuiet() {
    for (const { gate } of instances) gate.freeze(false);
    await gate.drain();
    for (const { gate } of instances) if (gate.doomed()) gate.die();
    replaceDead();
    await endAgents();
    for (let round = 0; round < 5; round++) {
      await calm(61_000, 2_000);
      sweep([0, 1]);
      await endAgents();
      if (round >= 1 && (await dueLater()).length === 0) break;
    }
  }

  return {
    ...{ bench, clock, conversations, instances, sent, asked, readers, faults, ends },
    ...{ send, cancel, watch, resume, leave, give, sweep, calm, endAgents, toQuiet, dueLater, replaceDead },
    /** Ends a process: at once, or with the answer to one of its next calls. The next one takes its place. */
    crash: (index: number, calls: number) => at(index).gate.die(calls),
    stall,
    pass: async (ms: number) => {
      await clock.advance(ms);
      await settle(4);
    },
    release: async (choices: readonly number[]) => {
      for (const choice of choices) {
        if (!(await gate.release(choice))) break;
        replaceDead();
      }
    },
  };
}

export type Run = Awaited<ReturnType<typeof openRun>>;
