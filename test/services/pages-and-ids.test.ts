import { describe, expect, it } from 'vitest';
import { messagePage, pageRange } from '../../src/conversations/message-pages.ts';
import { isConversationId, messageId, newConversationId, parseMessageId } from '../../src/conversations/model.ts';
import { ulid, ULID_PATTERN, ulidTime } from '../../src/kernel/ids.ts';
import { pageOf, pageRequest } from '../../src/kernel/page.ts';
import { createCursors } from '../../src/tenancy/cursor.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { isUserId, newUserId } from '../../src/tenancy/principal.ts';
import { aConversation, aTurn, messagesOf } from '../support/conversation-rows.ts';

const acme = parseTenantId('acme')!;
const refused = (field: string) => expect.objectContaining({ code: 'BAD_USER_INPUT', details: { field } });

describe('page arguments', () => {
  it.each([
    [{}, 'forward', 20, null],
    [{ first: null, after: null, last: null, before: null }, 'forward', 20, null],
    [{ first: 1 }, 'forward', 1, null],
    [{ first: 100, after: 'c' }, 'forward', 100, 'c'],
    [{ after: 'c' }, 'forward', 20, 'c'],
    [{ last: 7 }, 'backward', 7, null],
    [{ last: 7, before: 'c' }, 'backward', 7, 'c'],
    [{ before: 'c' }, 'backward', 20, 'c'],
  ])('%j is %s %i', (given, direction, size, cursor) => {
    expect(pageRequest(given)).toEqual({ direction, size, cursor });
  });

  it.each([
    [{ first: 0 }, 'first'],
    [{ first: -1 }, 'first'],
    [{ first: 101 }, 'first'],
    [{ last: 0 }, 'last'],
    [{ last: 101 }, 'last'],
    [{ first: 5, last: 5 }, 'last'],
    [{ first: 5, before: 'c' }, 'before'],
    [{ last: 5, after: 'c' }, 'after'],
    [{ after: 'a', before: 'b' }, 'after'],
  ])('%j is refused', (given, field) => {
    expect(() => pageRequest(given)).toThrow(refused(field));
  });

  it('an empty page has no cursors', () => {
    expect(pageOf([], { hasNextPage: false, hasPreviousPage: true })).toEqual({
      edges: [],
      nodes: [],
      pageInfo: { hasNextPage: false, hasPreviousPage: true, startCursor: null, endCursor: null },
    });
  });
});

describe('a page of messages', () => {
  const cursors = createCursors('secret', acme);

  function walk(count: number, direction: 'forward' | 'backward', size: number): number[] {
    const conversation = aConversation(acme, { messageCount: count });
    const pages: number[][] = [];
    for (let cursor: string | null = null; ;) {
      const range = pageRange(conversation, { direction, size, cursor }, cursors);
      const length = Math.max(0, range.to - range.from + 1);
      expect(length).toBeLessThanOrEqual(size);
      const [question] = messagesOf(conversation, aTurn(conversation));
      const rows = Array.from({ length }, (_, n) => ({ ...question, sequence: range.from + n }));
      const { nodes, pageInfo } = messagePage(conversation, range, rows, cursors);
      pages.push(nodes.map(({ sequence }) => sequence));
      const more: boolean = direction === 'forward' ? pageInfo.hasNextPage : pageInfo.hasPreviousPage;
      if (!more) return (direction === 'forward' ? pages : pages.reverse()).flat();
      cursor = direction === 'forward' ? pageInfo.endCursor : pageInfo.startCursor;
    }
  }

  it.each([0, 1, 2, 19, 20, 21, 50])('walked both ways over %i messages misses and repeats nothing', (count) => {
    const all = Array.from({ length: count }, (_, n) => n + 1);
    for (const size of [1, 2, 20, 100])
      for (const direction of ['forward', 'backward'] as const) expect(walk(count, direction, size)).toEqual(all);
  });

  it('a cursor of another conversation is refused', () => {
    const [one, other] = [aConversation(acme, { messageCount: 5 }), aConversation(acme, { messageCount: 5 })];
    const [question] = messagesOf(one, aTurn(one));
    const { pageInfo } = messagePage(one, { from: 1, to: 1 }, [question], cursors);
    const request = { direction: 'forward', size: 5, cursor: pageInfo.endCursor } as const;
    expect(pageRange(one, request, cursors)).toEqual({ from: 2, to: 5 });
    expect(() => pageRange(other, request, cursors)).toThrow(refused('after'));
  });
});

/** The request for the page after this cursor. */
const from = (cursor: string | null) => ({ cursor, direction: 'forward' }) as const;

describe('a cursor', () => {
  const cursors = createCursors('a secret', acme);

  it('opens to what was sealed, whatever that is', () => {
    for (const position of ['1', '', '2026-11-20T12:00:00.000Z#conv-1', 'ä.b#c 🚀', '.'.repeat(300)])
      expect(cursors.open('list', from(cursors.seal('list', position)))).toBe(position);
    expect(cursors.open('list', from(null))).toBeNull();
    const backward = { cursor: 'x', direction: 'backward' } as const;
    expect(() => cursors.open('list', backward)).toThrow(refused('before'));
  });

  it('of another tenant, another list or another secret is refused', () => {
    const sealed = cursors.seal('list', '7');
    for (const other of [createCursors('a secret', parseTenantId('globex')!), createCursors('another', acme)])
      expect(() => other.open('list', from(sealed))).toThrow(refused('after'));
    for (const list of ['lis', 'list ', 'list2', ''])
      expect(() => cursors.open(list, from(sealed))).toThrow(refused('after'));
  });

  it('does not confuse where the list ends and the position begins', () => {
    expect(() => cursors.open('a', from(cursors.seal('a b', 'c')))).toThrow(refused('after'));
    expect(() => cursors.open('a', from(cursors.seal('a","b', 'c')))).toThrow(refused('after'));
  });

  it('that was altered at any one place is refused: there is one spelling of each', () => {
    const sealed = cursors.seal('list', '2026-11-20T12:00:00.000Z#conv-1');
    for (let index = 0; index < sealed.length; index++) {
      for (const character of ['A', 'B', 'Q', '_', '-', '.', '!', '=']) {
        if (sealed[index] === character) continue;
        const altered = sealed.slice(0, index) + character + sealed.slice(index + 1);
        expect(() => cursors.open('list', from(altered)), altered).toThrow(refused('after'));
      }
    }
    for (const altered of [`${sealed}.`, `${sealed}.x`, `${sealed}=`, ` ${sealed}`, sealed.slice(0, -1), `!${sealed}`])
      expect(() => cursors.open('list', from(altered)), altered).toThrow(refused('after'));
  });

  it.each(['', '.', '..', 'garbage', 'é.é', '\u0000', 'eyJ.eyJ.sig', 'x'.repeat(100_000), '%2e'])(
    'that is garbage is refused',
    (text) => {
      expect(() => cursors.open('list', from(text))).toThrow(refused('after'));
    },
  );
});

describe('ids', () => {
  it('a ULID holds its time, sorts by it, and does not repeat', () => {
    const times = [0, 1, 1_732_104_000_000, 2 ** 48 - 1];
    const ids = times.map(ulid);
    for (const [index, id] of ids.entries()) {
      expect(id).toMatch(new RegExp(`^${ULID_PATTERN}$`));
      expect(ulidTime(id)).toBe(times[index]);
    }
    expect(ids.toSorted()).toEqual(ids);
    expect(new Set(Array.from({ length: 5_000 }, () => ulid(7))).size).toBe(5_000);
  });

  it('a message id names its conversation and place, and only one spelling does', () => {
    const conversationId = newConversationId(Date.now());
    const id = messageId(conversationId, 12);
    expect(parseMessageId(id)).toEqual({ conversationId, sequence: 12 });
    const ulidPart = conversationId.slice('conv-'.length);
    for (const bad of [
      `msg-${ulidPart}-012`,
      `msg-${ulidPart}-0`,
      `msg-${ulidPart}--1`,
      `msg-${ulidPart}-1.5`,
      `msg-${ulidPart}-1e3`,
      `msg-${ulidPart}-1234567890`,
      `msg-${ulidPart}-`,
      `msg-${ulidPart.toLowerCase()}-1`,
      `msg-${ulidPart}-1\n`,
      ` msg-${ulidPart}-1`,
      `msg-${ulidPart}#x-1`,
      conversationId,
      '',
    ])
      expect(parseMessageId(bad), bad).toBeNull();
  });

  it('an id of one kind is no id of another, and a line break at the end is not overlooked', () => {
    const now = Date.now();
    expect(isConversationId(newConversationId(now))).toBe(true);
    expect(isUserId(newUserId(now))).toBe(true);
    for (const bad of [newUserId(now), ulid(now), `${newConversationId(now)}\n`, `x${newConversationId(now)}`, 'conv-'])
      expect(isConversationId(bad)).toBe(false);
    for (const bad of [newConversationId(now), `${newUserId(now)}\n`, 'user-']) expect(isUserId(bad)).toBe(false);
  });
});
