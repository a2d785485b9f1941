import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { Actor } from '../tenancy/principal.ts';
import { tooManyAttempts } from './attempts.ts';
import type { SignedInSession } from './model.ts';
import type { Credentials, PasswordCheck } from './password-check.ts';
import type { AttemptLimiter, Origin } from './ports.ts';
import type { Sessions } from './sessions.ts';

export interface AuthService {
  /**
   * @throws UNAUTHENTICATED, the same and as late for an unknown tenant, an unknown or disabled user and a wrong password.
   * @throws RATE_LIMITED with `retryAfterMs`, before anything is looked up, for who has failed too often.
   */
  signIn(credentials: Credentials, origin: Origin): Promise<SignedInSession>;
  /**
   * The account's roles and state count as they are now.
   * @throws UNAUTHENTICATED. A token that was used before also ends its session: it may be in other hands.
   * @throws RATE_LIMITED with `retryAfterMs` for an address that presented too many tokens that were not good.
   */
  refresh(refreshToken: string, origin: Origin): Promise<SignedInSession>;
  /** Ends the session of this token. Resolves with whose it was; null for a token that proves nothing. */
  signOut(refreshToken: string): Promise<Actor | null>;
  /** Ends every session of the user whose token this is, and resolves likewise. */
  signOutEverywhere(refreshToken: string): Promise<Actor | null>;
}

export interface AuthDependencies {
  readonly checkPassword: PasswordCheck;
  readonly sessions: Sessions;
  readonly attempts: AttemptLimiter;
  readonly clock: Clock;
}

export function createAuthService({ checkPassword, sessions, attempts, clock }: AuthDependencies): AuthService {
  return {
    async signIn(credentials, origin) {
      const startedAt = clock.now();
      return sessions.begin(await checkPassword(credentials, origin), startedAt);
    },

    async refresh(refreshToken, origin) {
      const waitMs = await attempts.tokenWait(origin.ipAddress);
      if (waitMs > 0) throw tooManyAttempts(waitMs);
      const session = await sessions.renew(refreshToken, origin);
      if (session) return session;
      await attempts.tokenRefused(origin.ipAddress);
      throw new AppError('UNAUTHENTICATED', 'The refresh token is not valid.');
    },

    signOut: (refreshToken) => sessions.end(refreshToken),
    signOutEverywhere: (refreshToken) => sessions.endAll(refreshToken),
  };
}
