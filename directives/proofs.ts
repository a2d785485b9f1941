import type { RequestContext } from '../src/context.ts';
import type { Actor } from '../src/tenancy/principal.ts';

/** Whom calls with `@public` showed to be calling, by what they sent. */
export interface Proofs {
  note(context: RequestContext, actor: Actor | null): void;
  /** What was noted since it was last asked: mutations of a request come one after the other. */
  take(context: RequestContext): Actor | null;
}

export function createProofs(): Proofs {
  const noted = new WeakMap<RequestContext, Actor | null>();
  return {
    note: (context, actor) => void noted.set(context, actor),
    take(context) {
      const actor = noted.get(context) ?? null;
      noted.delete(context);
      return actor;
    },
  };
}
