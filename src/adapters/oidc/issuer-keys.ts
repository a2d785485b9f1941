import { createLocalJWKSet, errors, type JWTVerifyGetKey } from 'jose';
import { z } from 'zod';
import type { IssuerCheck } from '../../federation/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import { OutboundError } from '../outbound/request.ts';
import { createDocuments, type DocumentOptions } from './documents.ts';

/** How long an issuer's keys are taken to stand. A key that an issuer withdraws is good for no longer. */
export const KEYS_FRESH_MS = 10 * 60_000;
/** While an issuer is away its keys go on, for so long after they were fetched. */
export const KEYS_KEPT_MS = 6 * 60 * 60_000;
/** An issuer is asked at most this often, whatever tokens come: those of unknown keys cost whoever sends them nothing. */
export const COOLDOWN_MS = 10_000;

/** Told of keys that could not be fetched. */
export interface IssuerKeysLog {
  keysNotFetched(issuer: string, reason: string): void;
}

export interface IssuerKeysOptions extends DocumentOptions {
  readonly clock: Clock;
  readonly log: IssuerKeysLog;
}

export interface IssuerKeys extends IssuerCheck {
  /** The keys that verify an issuer's tokens, fetched when they are needed. */
  of(issuer: string): JWTVerifyGetKey;
}

interface Known {
  keys: JWTVerifyGetKey | null;
  fetchedAt: number;
  triedAt: number;
  failing: boolean;
  pending: Promise<boolean> | null;
}

const discovery = z.looseObject({ issuer: z.string(), jwks_uri: z.string() });
const keySet = z.looseObject({ keys: z.array(z.looseObject({ kty: z.string() })) });

/** OpenID Connect Discovery 1.0, section 4: where an issuer says what its keys are. */
const discoveryUrl = (issuer: string): string => `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;

/** The keys of OIDC issuers (RFC 7517), found by discovery. */
export function createIssuerKeys({ clock, log, ...options }: IssuerKeysOptions): IssuerKeys {
  const documents = createDocuments({ clock, ...options });
  const issuers = new Map<string, Known>();

  async function fetchKeys(issuer: string): Promise<JWTVerifyGetKey> {
    const said = discovery.parse(await documents.fetch(discoveryUrl(issuer)));
    if (said.issuer !== issuer) throw new OutboundError('The issuer calls itself by another name.');
    return createLocalJWKSet(keySet.parse(await documents.fetch(said.jwks_uri)));
  }

  const reasonOf = (error: unknown): string =>
    error instanceof z.ZodError ? 'The answer is not what OpenID Connect Discovery says.' : documents.reasonOf(error);

  /** Whether the keys are new. Nothing is asked before the pause since the last try is over. */
  function refresh(issuer: string, known: Known): Promise<boolean> {
    if (known.pending) return known.pending;
    if (clock.now() - known.triedAt < COOLDOWN_MS) return Promise.resolve(false);
    known.triedAt = clock.now();
    known.pending = fetchKeys(issuer)
      .then(
        (keys) => {
          Object.assign(known, { keys, fetchedAt: clock.now(), failing: false });
          return true;
        },
        (error: unknown) => {
          known.failing = true;
          log.keysNotFetched(issuer, reasonOf(error));
          return false;
        },
      )
      .finally(() => (known.pending = null));
    return known.pending;
  }

  function knownOf(issuer: string): Known {
    const known = issuers.get(issuer) ?? {
      ...{ keys: null, fetchedAt: -Infinity, triedAt: -Infinity, failing: false, pending: null },
    };
    issuers.set(issuer, known);
    return known;
  }

  return {
    of: (issuer) => async (header, token) => {
      const known = knownOf(issuer);
      const age = () => clock.now() - known.fetchedAt;
      if (age() >= KEYS_FRESH_MS) {
        const refreshed = refresh(issuer, known);
        // While the issuer fails, nobody waits who can be served without it.
        if (!known.failing || age() >= KEYS_KEPT_MS) await refreshed;
      }
      if (!known.keys || age() >= KEYS_KEPT_MS) throw new errors.JWKSNoMatchingKey();
      try {
        return await known.keys(header, token);
      } catch (error) {
        // A key that is not known may be a new one.
        if (!(error instanceof errors.JWKSNoMatchingKey) || !(await refresh(issuer, known))) throw error;
        return known.keys(header, token);
      }
    },

    async faultOf(issuer) {
      const url = URL.parse(issuer);
      const fault = url ? documents.fault(url) : 'That is no URL.';
      if (!url || fault !== null) return fault;
      try {
        const keys = await fetchKeys(issuer);
        Object.assign(knownOf(issuer), { keys, fetchedAt: clock.now(), triedAt: clock.now(), failing: false });
        return null;
      } catch (error) {
        return reasonOf(error);
      }
    },
  };
}
