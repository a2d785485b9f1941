import { describe, expect, it } from 'vitest';
import { checkContent, checkIdempotencyKey, checkTitle } from '../../src/conversations/input.ts';

const refused = (field: string) => expect.objectContaining({ code: 'BAD_USER_INPUT', details: { field } });
const ROCKET = '🚀'; // one code point, two UTF-16 units, four bytes

describe.each([
  { field: 'content', check: checkContent, max: 32_000 },
  { field: 'title', check: checkTitle, max: 200 },
])('$field', ({ field, check, max }) => {
  it('is trimmed, and kept otherwise', () => {
    expect(check('  Grüße, 世界 🚀\u00a0 ')).toBe('Grüße, 世界 🚀');
    expect(check('e\u0301')).toBe('e\u0301');
    expect(check('👩‍👩‍👧')).toBe('👩‍👩‍👧');
  });

  it.each(['', ' ', '\n\t \r\n', '\u00a0\u3000', '\ufeff'])('that is empty after trimming is refused: %j', (text) => {
    expect(() => check(text)).toThrow(refused(field));
  });

  it(`holds ${max} code points after trimming, and not one more`, () => {
    for (const character of ['x', 'ü', '世', ROCKET]) {
      const full = character.repeat(max);
      expect(check(`  ${full}\n`) === full).toBe(true);
      expect(() => check(full + character)).toThrow(refused(field));
    }
    expect(() => check(ROCKET.repeat(max - 1) + 'xx')).toThrow(refused(field));
    expect(check(ROCKET.repeat(max - 1) + 'x')).toHaveLength(2 * max - 1);
    expect(() => check('x'.repeat(1_000_000))).toThrow(refused(field));
  });

  it('with a control character or half a character is refused, wherever it stands', () => {
    const controls = [0, 1, 7, 8, 0x1b, 0x1f, 0x7f, 0x80, 0x85, 0x9f].map((code) => String.fromCharCode(code));
    for (const bad of [...controls, '\ud83d', '\ude80', '\ude80\ud83d'])
      for (const text of [`a${bad}b`, `${bad}a`, `a${bad}`])
        expect(() => check(text), JSON.stringify(text)).toThrow(refused(field));
  });
});

it('line breaks and tabs belong in a content, not in a title', () => {
  for (const text of ['a\nb', 'a\r\nb', 'a\tb']) {
    expect(checkContent(text)).toBe(text);
    expect(() => checkTitle(text)).toThrow(refused('title'));
  }
  for (const text of ['a\vb', 'a\fb']) expect(() => checkContent(text)).toThrow(refused('content'));
});

describe('an idempotency key', () => {
  it('may be left out, and is otherwise kept as it is: spaces tell keys apart', () => {
    expect(checkIdempotencyKey(null)).toBeNull();
    expect(checkIdempotencyKey(undefined)).toBeNull();
    expect(checkIdempotencyKey(' key ')).toBe(' key ');
    expect(checkIdempotencyKey('x'.repeat(200))).toHaveLength(200);
    expect(checkIdempotencyKey(ROCKET.repeat(200))).toHaveLength(400);
  });

  it.each([
    ['empty', ''],
    ['of spaces alone', '   '],
    ['of 201 characters', 'x'.repeat(201)],
    ['of 201 characters, one of them a space at the end', `${'x'.repeat(200)} `],
    ['short, with ten thousand spaces around it', `${' '.repeat(10_000)}x`],
    ['with a control character', 'a\u0000b'],
    ['with a control character at its end', 'ab\n'],
    ['with half a character', 'a\ud83d'],
  ])('that is %s is refused', (_name, key) => {
    expect(() => checkIdempotencyKey(key)).toThrow(refused('idempotencyKey'));
  });
});
