import type { Clock } from '../kernel/clock.ts';
import type { Principal } from '../tenancy/principal.ts';
import type { Logger } from './log.ts';

/**
 * How often it is asked again who may stay, so that a reader to whom nothing is sent learns it too. Together with the age of what is
 * known of credentials and tenants (25 s) it makes 30 s.
 */
export const RECHECK_EVERY_MS = 5_000;

export interface RecheckOptions {
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Looks again and again, and at the end of the credential to the moment: it is known before it comes. A look that fails is made again the next
 * time. The returned function ends it; nobody's credential never ends.
 */
export function startRechecks(
  { clock, log }: RecheckOptions,
  principal: Principal | null,
  look: () => Promise<unknown>,
): () => void {
  let cancel = () => {};
  let ended = false;

  function later() {
    if (!principal || ended) return;
    const ms = Math.min(RECHECK_EVERY_MS, Math.max(0, principal.expiresAt - clock.now()));
    cancel = clock.after(ms, () => void again());
  }

  async function again() {
    try {
      await look();
    } catch (err) {
      log.debug({ err }, 'who may stay is not known');
    }
    later();
  }

  later();
  return () => {
    ended = true;
    cancel();
  };
}
