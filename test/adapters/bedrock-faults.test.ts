import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AnswerPart } from '../../src/conversations/ports.ts';
import {
  chunkFrame,
  errorFrame,
  exceptionFrame,
  startAgentServer,
  traceFrame,
  type AgentServer,
} from '../support/agent-server.ts';
import { aQuestion, bedrockAgentsAt, readAnswer } from '../support/bedrock-agents.ts';

/** As `reference/bedrock.md` §1.5 has them: status, and what a caller may do about it. */
const EXCEPTIONS = [
  ['ThrottlingException', 429, true, 'a pause'],
  ['ServiceQuotaExceededException', 400, true, 'a pause'],
  ['ModelNotReadyException', 424, true, 'a pause'],
  ['ConflictException', 409, true, 'a pause'],
  ['InternalServerException', 500, true, 'a pause'],
  ['BadGatewayException', 502, true, 'a pause'],
  ['DependencyFailedException', 424, true, 'a pause'],
  ['ValidationException', 400, false, null],
  ['AccessDeniedException', 403, false, null],
  ['ResourceNotFoundException', 404, false, null],
] as const;

const IDLE_MS = 300;

let server: AgentServer;
let agents: ReturnType<typeof bedrockAgentsAt>;
let impatient: ReturnType<typeof bedrockAgentsAt>;
beforeAll(async () => {
  server = await startAgentServer();
  agents = bedrockAgentsAt(server.url);
  impatient = bedrockAgentsAt(server.url, { idleTimeoutMs: IDLE_MS });
});
afterAll(async () => {
  agents.close();
  impatient.close();
  await server.close();
});

const wireName = (name: string) => name.charAt(0).toLowerCase() + name.slice(1);

describe.each(EXCEPTIONS)('%s', (name, status, retryable, pause) => {
  const expected = {
    code: 'AGENT_UNAVAILABLE',
    details: pause ? { retryable, retryAfterMs: expect.toSatisfy((ms: number) => ms > 0) as number } : { retryable },
  };

  it('before the stream, at its beginning and in the middle is AGENT_UNAVAILABLE, once, with what came before', async () => {
    const before = server.calls.length;
    server.refuse(status, name);
    const refused = await readAnswer(agents.oneCall);
    server.answer(exceptionFrame(wireName(name)));
    const first = await readAnswer(agents.oneCall);
    server.answer(traceFrame({}), chunkFrame('Some text'), exceptionFrame(wireName(name)));
    const middle = await readAnswer(agents.oneCall);

    for (const { error } of [refused, first, middle]) {
      expect(error).toMatchObject(expected);
      expect(error?.message).not.toContain('emulated'); // what AWS says may name accounts and resources
      expect(error?.cause).toBeDefined();
    }
    expect([refused.text, first.text, middle.text]).toEqual(['', '', 'Some text']);
    expect(server.calls.length).toBe(before + 3); // no attempt of the SDK's own
  });
});

describe('anything else that goes wrong is AGENT_UNAVAILABLE, and may be tried again', () => {
  const lost = { code: 'AGENT_UNAVAILABLE', details: { retryable: true, retryAfterMs: 1_000 } };

  it.each<[string, () => void]>([
    ['an exception nobody knows', () => server.answer(chunkFrame('Hi'), exceptionFrame('meltdownException'))],
    ['an error message instead of an event', () => server.answer(chunkFrame('Hi'), errorFrame('InternalFailure'))],
    ['a truncated frame', () => server.answer(chunkFrame('Hi'), chunkFrame('there').subarray(0, 20))],
    ['a frame with a wrong checksum', () => server.answer(chunkFrame('Hi'), damaged(chunkFrame('there')))],
    ['a frame with a wrong prelude', () => server.answer(chunkFrame('Hi'), damaged(chunkFrame('there'), 8))],
    [
      'a connection that is cut',
      () =>
        server.play(async ({ send, response }) => {
          await send(chunkFrame('Hi'));
          response.destroy();
        }),
    ],
  ])('%s', async (_name, prepare) => {
    prepare();
    const { error, text } = await readAnswer(agents.oneCall);
    expect(error).toMatchObject(lost);
    expect(text).toBe('Hi');
  });

  it.each<[string, () => void]>([
    ['a connection that is cut before the answer', () => server.play(({ response }) => void response.destroy())],
    ['a page of HTML', () => server.refuse(502, null, '<html>Bad gateway</html>')],
    ['an error without a name', () => server.refuse(500, null)],
    [
      'bytes that are no frames',
      () => server.answer(Buffer.from('{"message":"I am no event stream, whatever I say"}')),
    ],
  ])('%s', async (_name, prepare) => {
    prepare();
    const { error, text } = await readAnswer(agents.oneCall);
    expect(error).toMatchObject(lost);
    expect(text).toBe('');
  });

  it('nobody listening', async () => {
    const gone = await startAgentServer();
    await gone.close();
    const { oneCall, close } = bedrockAgentsAt(gone.url);
    expect((await readAnswer(oneCall)).error).toMatchObject(lost);
    close();
  });

  it('a tool that is asked for: not offered, and not to be tried again', async () => {
    const { oneCall } = agents;
    const { eventFrame } = await import('../support/agent-server.ts');
    server.answer(chunkFrame('Let me see.'), eventFrame('returnControl', { invocationId: 'i', invocationInputs: [] }));
    expect((await readAnswer(oneCall)).error).toMatchObject({
      code: 'AGENT_UNAVAILABLE',
      details: { retryable: false },
    });
  });
});

describe('silence', () => {
  const timedOut = { code: 'AGENT_UNAVAILABLE', details: { retryable: true, retryAfterMs: 5_000 } };

  it.each([
    ['before the headers', [] as Uint8Array[], false],
    ['after the headers', [] as Uint8Array[], true],
    ['in the middle', [chunkFrame('Hi')], true],
  ])('%s ends in a timeout, and the connection is closed', async (_name, frames, begun) => {
    server.play(async ({ send }) => {
      if (begun) await send(...frames);
    });
    const { error, text } = await readAnswer(impatient.oneCall);
    expect(error).toMatchObject(timedOut);
    expect(text).toBe(frames.length > 0 ? 'Hi' : '');
    await server.calls.at(-1)!.closed;
  });
});

describe('stopping', () => {
  /** A server that says `Hi` and then nothing. */
  const stalling = () =>
    server.play(async ({ send }) => {
      await send(chunkFrame('Hi'));
    });

  it('in the middle ends the call: the server sees the connection close, and the iteration does not look finished', async () => {
    stalling();
    const control = new AbortController();
    const { error, text } = await readAnswer(agents.source, aQuestion(), control.signal, (part) => {
      if (part.type === 'text') control.abort('CANCELLED');
    });
    expect(text).toBe('Hi');
    expect(error).not.toBeNull();
    await server.calls.at(-1)!.closed;
  });

  it('while the server is still thinking ends the call too', async () => {
    const reached = Promise.withResolvers<void>();
    server.play(() => reached.resolve());
    const control = new AbortController();
    const answer = readAnswer(agents.source, aQuestion(), control.signal);
    await reached.promise;
    control.abort('CANCELLED');
    expect((await answer).error).not.toBeNull();
    await server.calls.at(-1)!.closed;
  });

  it('before it has begun makes no call that goes on, and does not look finished', async () => {
    stalling();
    const { error, text } = await readAnswer(agents.source, aQuestion(), AbortSignal.abort('CANCELLED'));
    expect(error).not.toBeNull();
    expect(text).toBe('');
  });

  it('at the very end, when everything has arrived, still does not look finished', async () => {
    server.answer(chunkFrame('Hi'), chunkFrame(' there'));
    const control = new AbortController();
    let texts = 0;
    const { error } = await readAnswer(agents.source, aQuestion(), control.signal, (part) => {
      if (part.type === 'text' && ++texts === 2) control.abort('CANCELLED');
    });
    expect(error).not.toBeNull();
  });

  it.each(['leaving the loop', 'throwing in it'])('%s closes the connection', async (how) => {
    stalling();
    const seen: AnswerPart[] = [];
    try {
      for await (const part of agents.source.answer(aQuestion(), new AbortController().signal)) {
        seen.push(part);
        if (part.type !== 'text') continue;
        if (how === 'leaving the loop') break;
        throw new Error('mine');
      }
    } catch (error) {
      expect((error as Error).message).toBe('mine');
    }
    expect(seen.at(-1)).toEqual({ type: 'text', text: 'Hi' });
    await server.calls.at(-1)!.closed;
  });

  it('a violation closes the connection', async () => {
    const foreign = { retrievedReferences: [{ content: { text: 'x' }, metadata: { tenantId: 'globex' } }] };
    server.play(async ({ send }) => {
      await send(chunkFrame('Hi', [foreign]));
    });
    expect((await readAnswer(agents.source)).error).toMatchObject({ code: 'ISOLATION_VIOLATION' });
    await server.calls.at(-1)!.closed;
  });
});

it('a stream of no frames at all yields no text: whoever reads it can tell', async () => {
  server.play(async ({ send, response }) => {
    await send();
    response.end();
  });
  const { parts, text } = await readAnswer(agents.source);
  expect(text).toBe('');
  expect(parts.filter(({ type }) => type !== 'attempt' && type !== 'request')).toEqual([]);
});

it('sixty answers at the same time are all served', async () => {
  server.play(async ({ send, response }, { body }) => {
    await send(chunkFrame(`${body.inputText}`));
    response.end();
  });
  const texts = Array.from({ length: 60 }, (_, n) => `question ${n}`);
  const read = await Promise.all(texts.map((text) => readAnswer(agents.source, aQuestion({ text }))));
  expect(read.map(({ text }) => text)).toEqual(texts);
});

/** The same frame with one bit changed: in its last byte before the checksum, or where told. */
function damaged(frame: Uint8Array, at = frame.length - 5): Uint8Array {
  const copy = Uint8Array.from(frame);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}
