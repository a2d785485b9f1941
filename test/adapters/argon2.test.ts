import { describe, expect, it } from 'vitest';
import { createPasswordHasher } from '../../src/adapters/argon2/password-hasher.ts';

const hasher = createPasswordHasher();

/**
 * Known answers of the reference implementation (phc-winner-argon2, `src/test.c`, Argon2id, version 0x13). RFC 9106's own
 * vector uses a secret and associated data, which PHC strings cannot hold.
 */
const KNOWN = [
  '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc',
  '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
  '$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc',
];

describe('Argon2id', () => {
  it.each(KNOWN)('knows the reference answer %s', async (hash) => {
    expect(await hasher.verify('password', hash)).toBe(true);
    expect(await hasher.verify('Password', hash)).toBe(false);
  });

  it('a hash says how it was made, and is different every time', async () => {
    const [one, two] = [await hasher.hash('a password'), await hasher.hash('a password')];
    expect(one).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(one).not.toBe(two);
    for (const hash of [one, two]) expect(await hasher.verify('a password', hash)).toBe(true);
  });

  it.each(['', ' ', 'a passwor', 'a password ', 'A password', 'a password\u0000', 'x'.repeat(1024)])(
    'refuses %j for another password',
    async (wrong) => {
      expect(await hasher.verify(wrong, await hasher.hash('a password'))).toBe(false);
    },
  );

  it('a password of any characters verifies', async () => {
    for (const password of ['', 'pässwörd', '密码🔑', '\u0000\u0001', 'x'.repeat(1024)])
      expect(await hasher.verify(password, await hasher.hash(password))).toBe(true);
  });

  it.each([
    '',
    'garbage',
    'a password',
    '$argon2id$v=19$m=19456,t=2,p=1$$',
    '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$',
    '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$=',
    '$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
    '$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
    '$argon2id$v=19$m=256,t=3,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
    '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$of65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
    '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4\n',
    '$2b$10$abcdefghijklmnopqrstuv',
  ])('a stored hash that is not this password’s (%j) verifies nothing', async (hash) => {
    expect(await hasher.verify('password', hash)).toBe(false);
  });

  it.each([
    '$argon2id$v=19$m=256,t=2,p=1$YQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
    '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf',
    '$argon2id$v=19$m=256,t=0,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
    '$argon2id$v=19$m=1,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
    '$argon2id$v=19$m=99999999999999999999,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4',
  ])('a stored hash with impossible parameters (%j) never verifies', async (hash) => {
    expect(await hasher.verify('password', hash).catch(() => 'an error')).not.toBe(true);
  });
});

it('of many at once a hundred wait, and the others are refused at once; none of it is lost for later', async () => {
  const busy = createPasswordHasher();
  const [, cheap = ''] = KNOWN;
  const outcomes = await Promise.allSettled(Array.from({ length: 150 }, () => busy.verify('password', cheap)));
  const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
  expect(outcomes.filter((outcome) => outcome.status === 'fulfilled' && outcome.value)).toHaveLength(102);
  for (const { reason } of refused)
    expect(reason).toMatchObject({ code: 'RATE_LIMITED', details: { retryAfterMs: expect.any(Number) as number } });
  expect(await busy.verify('password', cheap)).toBe(true);
});
