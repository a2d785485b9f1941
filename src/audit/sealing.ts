import { isoTime, type Clock } from '../kernel/clock.ts';
import { repeat } from '../kernel/repeating.ts';
import type { Sign } from './chain.ts';
import { DAY_MS, dayOf, dayStart, type ChainedEntry } from './model.ts';
import type { AuditTrails, SealedChain, SealedDay, SealStore } from './ports.ts';

/** How long after its end a day is sealed: by then nearly all of its entries have been delivered. */
export const SEAL_AFTER_MS = 3_600_000;
const SEAL_EVERY_MS = 900_000;

export interface SealerLog {
  sealed(day: SealedDay): void;
  sealingFailed(error: unknown): void;
}

export interface SealerDependencies {
  readonly trails: Pick<AuditTrails, 'of' | 'all'>;
  readonly sign: Sign;
  readonly clock: Clock;
  readonly log: SealerLog;
}

export const nextDay = (day: string): string => dayOf(isoTime(dayStart(day) + DAY_MS));

/** The last day that is to be sealed by now. */
export const lastSealable = (nowMs: number): string => dayOf(isoTime(nowMs - SEAL_AFTER_MS - DAY_MS));

export const sealMac = (sign: Sign, { tenantId, day, chains, previous }: Omit<SealedDay, 'mac'>): string =>
  sign(['day', tenantId, day, chains.map(({ writer, entries, last }) => [writer, entries, last]), previous]);

/** The chains of a day as they end. */
export async function chainsOf(entries: AsyncIterable<{ readonly entry: ChainedEntry }>): Promise<SealedChain[]> {
  const chains = new Map<string, SealedChain>();
  for await (const { entry } of entries) {
    const { writer, mac: last } = entry;
    chains.set(writer, { writer, entries: (chains.get(writer)?.entries ?? 0) + 1, last });
  }
  return [...chains.values()].sort((a, b) => (a.writer < b.writer ? -1 : 1));
}

/** Seals the days of a trail that are over and not sealed: one after the other, those without entries too, each upon the one before. */
async function sealTrail(store: SealStore, { sign, clock, log }: SealerDependencies) {
  const last = await store.lastSeal();
  const first = last ? nextDay(last.day) : await store.firstDay();
  if (first === null) return;
  let previous = last?.mac ?? '';
  for (let day = first; day <= lastSealable(clock.now()); day = nextDay(day)) {
    const unsealed = { tenantId: store.tenantId, day, chains: await chainsOf(store.ofDay(day)), previous };
    const sealed = { ...unsealed, mac: sealMac(sign, unsealed) };
    if (!(await store.seal(sealed))) return; // another instance is at it
    log.sealed(sealed);
    previous = sealed.mac;
  }
}

/** Seals days, on whatever instance. The log is told of every seal: kept elsewhere, it proves that later ones were not replaced. */
export function createSealer(deps: SealerDependencies) {
  const { trails, clock, log } = deps;
  const sealedUntil = new Map<string, string>();

  async function round() {
    const until = lastSealable(clock.now());
    for await (const tenantId of trails.all()) {
      if (sealedUntil.get(tenantId) === until) continue;
      await sealTrail(trails.of(tenantId), deps).then(
        () => sealedUntil.set(tenantId, until),
        (error: unknown) => log.sealingFailed(error),
      );
    }
  }
  return {
    round,
    start: () => repeat({ clock, everyMs: SEAL_EVERY_MS, task: round, failed: (error) => log.sealingFailed(error) }),
  };
}
