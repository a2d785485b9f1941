import {
  circuitBreaker,
  CircuitState,
  DelegateBackoff,
  handleWhenResult,
  isBrokenCircuitError,
  type IHalfOpenAfterBackoffContext,
} from 'cockatiel';
import type { TenantId } from '../../tenancy/tenant-id.ts';
import { AgentFault, leftAlone } from './faults.ts';

/** How far back outcomes count, how many there must be, and what share of them failures, for the circuit to open. */
const WINDOW_MS = 30_000;
const OUTCOMES_MIN = 5;
const FAILED_SHARE = 0.5;
/** How long an open circuit lets no call through; then one may try. */
const OPEN_MS = 10_000;
/** What callers are told who come while that one is trying. */
const TRYING_RETRY_MS = 1_000;

/** `STOPPED`: whoever asked left before it was decided. `OTHER`: it failed, but not because the agent is down. */
type Verdict = 'BEGAN' | 'FAILED' | 'OTHER' | 'STOPPED';

interface Outcome<T> {
  readonly verdict: Verdict;
  result(): T;
}

/** Keeps calls from an agent that is down. */
export interface Circuit {
  /**
   * Runs `begin`, and learns from what becomes of it.
   * @throws AGENT_UNAVAILABLE at once, with the time that is left as `retryAfterMs`, while the circuit is open.
   */
  guard<T>(tenantId: TenantId, signal: AbortSignal, begin: () => Promise<T>): Promise<T>;
}

/** What recently became of the questions of each tenant. By the system's clock, because cockatiel's breaker goes by it too. */
function createWindow() {
  const entries: { readonly tenantId: TenantId; readonly at: number; readonly verdict: Verdict | 'ASKED' }[] = [];
  const tenantsOf = (some: typeof entries) => new Set(some.map(({ tenantId }) => tenantId)).size;
  return {
    add(tenantId: TenantId, verdict: Verdict | 'ASKED') {
      const at = Date.now();
      entries.push({ tenantId, at, verdict });
      entries.splice(
        0,
        entries.findIndex((entry) => entry.at > at - WINDOW_MS),
      );
    },
    /** One tenant's failures are that tenant's own, as long as others use the agent. */
    speaksAgainstAgent() {
      const failed = entries.filter(({ verdict }) => verdict === 'FAILED');
      const decided = failed.length + entries.filter(({ verdict }) => verdict === 'BEGAN').length;
      const often = decided >= OUTCOMES_MIN && failed.length >= FAILED_SHARE * decided;
      return often && (tenantsOf(failed) > 1 || tenantsOf(entries) === 1);
    },
    clear() {
      entries.length = 0;
    },
  };
}

/** What became of a question, as a value: what is thrown past cockatiel's breaker counts as a success while it is half open. */
const outcomeOf = <T>(begin: () => Promise<T>, signal: AbortSignal): Promise<Outcome<T>> =>
  begin().then(
    (value) => ({ verdict: 'BEGAN', result: () => value }),
    (error: unknown) => {
      const failed = error instanceof AgentFault && error.down ? 'FAILED' : 'OTHER';
      return {
        verdict: signal.aborted ? 'STOPPED' : failed,
        result: () => {
          throw error;
        },
      };
    },
  );

const verdictOf = (outcome: unknown): Verdict => (outcome as Outcome<unknown>).verdict;

/** The circuit of one agent in one region. */
export function createCircuit(): Circuit {
  const window = createWindow();
  let openUntil = 0;

  const policy = circuitBreaker(
    // A trial that was stopped has shown nothing, so it must not close the circuit.
    handleWhenResult((outcome) => {
      const verdict = verdictOf(outcome);
      return verdict === 'FAILED' || (verdict === 'STOPPED' && policy.state === CircuitState.HalfOpen);
    }),
    {
      halfOpenAfter: new DelegateBackoff(({ result }: IHalfOpenAfterBackoffContext) => {
        const ms = 'value' in result && verdictOf(result.value) === 'STOPPED' ? 0 : OPEN_MS; // 0: the next one may try
        openUntil = Date.now() + ms;
        return ms;
      }),
      breaker: {
        state: null,
        success: (state) => state === CircuitState.HalfOpen && window.clear(),
        failure: () => window.speaksAgainstAgent(),
      },
    },
  );

  return {
    async guard(tenantId, signal, begin) {
      // Cockatiel would have them wait for the outcome of the trial.
      if (policy.state === CircuitState.HalfOpen) throw leftAlone(TRYING_RETRY_MS);
      try {
        const outcome = await policy.execute(async () => {
          window.add(tenantId, 'ASKED');
          const became = await outcomeOf(begin, signal);
          window.add(tenantId, became.verdict);
          return became;
        });
        return outcome.result();
      } catch (error) {
        throw isBrokenCircuitError(error) ? leftAlone(Math.max(1, openUntil - Date.now())) : error;
      }
    },
  };
}
