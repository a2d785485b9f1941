import { createHash } from 'node:crypto';
import { AppError } from '../kernel/errors.ts';
import type { Attempt, AttemptCounter, AttemptLimiter, OpenAttemptCounter } from './ports.ts';

const QUARTER_HOUR_MS = 15 * 60 * 1000;
const FORTNIGHT_MS = 14 * 24 * 60 * 60 * 1000;

/** Failures that are let pass in a quarter of an hour; what succeeds is not counted in the end. */
export const FAILURES_MAX = {
  /** From one address to one account. */
  pair: 10,
  /** To one account, from all addresses that it is not known to be used from. */
  account: 100,
  /** From one address, to all accounts: a whole office may stand behind it. */
  address: 300,
  /** With refresh tokens, and tokens of invitations and resets, from one address. */
  token: 100,
  /** With API keys, from one address. */
  apiKey: 100,
  /** With tokens of issuers that no tenant has, from one address. */
  issuer: 100,
} as const;

export const tooManyAttempts = (retryAfterMs: number): AppError =>
  new AppError('RATE_LIMITED', 'Too many attempts. Wait before the next one.', { retryAfterMs });

const openCounter = (open: OpenAttemptCounter, name: keyof typeof FAILURES_MAX): AttemptCounter =>
  open(name, { max: FAILURES_MAX[name], windowMs: QUARTER_HOUR_MS });

/** Counts, by the address they came from, secrets that nobody guesses but by trying very many: only those that were refused. */
export function countRefusals(open: OpenAttemptCounter, name: 'token' | 'apiKey' | 'issuer') {
  const counter = openCounter(open, name);
  return {
    /** How long an address has to wait until it may present another, in milliseconds; 0 when it may. */
    wait: (ipAddress: string | null) => counter.wait(networkOf(ipAddress)),
    add: async (ipAddress: string | null) => void (await counter.add(networkOf(ipAddress))),
  };
}

/**
 * Somebody who guesses is slowed down by what they guess at and by where they guess from. Whoever guesses at somebody else's
 * password can use up that account's failures, but not for an address from which its owner has signed in before.
 */
export function createAttemptLimiter(open: OpenAttemptCounter): AttemptLimiter {
  const counter = (name: keyof typeof FAILURES_MAX) => openCounter(open, name);
  const [pair, account, address] = [counter('pair'), counter('account'), counter('address')];
  const tokens = countRefusals(open, 'token');
  const owners = open('owner', { max: 1, windowMs: FORTNIGHT_MS });
  /** Whether an account's owner has signed in from an address before. */
  const isKnown = async (key: string) => (await owners.wait(key)) > 0;

  return {
    async beginSignIn(attempt) {
      const keys = keysOf(attempt);
      const isOwners = await isKnown(keys.pair);
      // The next one is asked only if the one before lets it pass: a single address must not use up the failures of an account.
      const counters: [AttemptCounter, string][] = [
        [address, keys.address],
        [pair, keys.pair],
        ...(isOwners ? [] : [[account, keys.account] satisfies [AttemptCounter, string]]),
      ];
      for (const [each, key] of counters) {
        const waitMs = await each.add(key);
        if (waitMs > 0) return waitMs;
      }
      return 0;
    },
    async signedIn(attempt) {
      const keys = keysOf(attempt);
      if (!(await isKnown(keys.pair))) await account.takeBack(keys.account);
      await Promise.all([address.takeBack(keys.address), pair.forget(keys.pair), owners.add(keys.pair)]);
    },
    tokenWait: tokens.wait,
    tokenRefused: tokens.add,
  };
}

/** Hashes: what somebody types as their name is of any length, and may be their password. */
function keysOf({ ipAddress, tenant, email }: Attempt) {
  const address = networkOf(ipAddress);
  const name = [tenant, email.trim().toLowerCase()];
  return { address, account: digest(name), pair: digest([...name, address]) };
}

const digest = (parts: readonly string[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('base64url');

/** What one customer of a provider has: an IPv4 address, or an IPv6 network of /64 (RFC 4291, 2.5.4), in which they may use any. */
export function networkOf(ipAddress: string | null): string {
  if (ipAddress === null) return 'unknown';
  const mapped = /^::ffff:([\d.]+)$/i.exec(ipAddress)?.[1];
  if (mapped !== undefined || !ipAddress.includes(':')) return mapped ?? ipAddress;
  const [left = [], right = []] = ipAddress.split('::').map((half) => half.split(':').filter((group) => group !== ''));
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0');
  const groups = [...left, ...zeros, ...right].slice(0, 4);
  return groups.map((group) => parseInt(group, 16).toString(16)).join('-');
}
