import { macOf, type Sign } from './chain.ts';
import { dayOf, type ChainedEntry } from './model.ts';
import type { SealedDay, SealStore } from './ports.ts';
import { lastSealable, nextDay, sealMac } from './sealing.ts';

/** What was found of one trail. */
export interface Verification {
  readonly days: number;
  readonly entries: number;
  /** Genuine entries that came after their day was sealed, so that nothing would show if they were removed again. */
  readonly late: number;
  /** What is wrong, each in a sentence; empty for a trail that is as it was written. */
  readonly faults: readonly string[];
}

/** Looks whether a trail is as it was written, from one day to another. */
export async function verifyTrail(
  store: SealStore,
  sign: Sign,
  span: { readonly from: string; readonly to: string; readonly nowMs: number },
): Promise<Verification> {
  const faults: string[] = [];
  let [entries, late] = [0, 0];
  const seals = new Map<string, SealedDay>();
  for await (const seal of store.seals('00000000', '99999999')) seals.set(seal.day, seal);
  const days = new Set([...(await store.days(span.from, span.to)), ...seals.keys()]);
  const first = [...seals.keys()].sort()[0] ?? (await store.firstDay());
  for (let day = first; day !== null && day <= lastSealable(span.nowMs); day = nextDay(day)) days.add(day);

  let previous: string | null = null;
  for (const day of [...days].sort()) {
    const seal = seals.get(day);
    if (seal) {
      if (seal.mac !== sealMac(sign, seal)) faults.push(`${day}: the seal was altered, or made with another secret.`);
      if (previous !== null && seal.previous !== previous)
        faults.push(`${day}: the seal does not follow the one of the day before.`);
      previous = seal.mac;
    } else if (day <= lastSealable(span.nowMs))
      faults.push(`${day}: there is no seal: the day was removed, or never sealed.`);
    if (day < span.from || day > span.to) continue;
    const found = await verifyDay(store, sign, day, seal);
    faults.push(...found.faults.map((fault) => `${day}: ${fault}`));
    entries += found.entries;
    late += found.late;
  }
  return { days: days.size, entries, late, faults };
}

async function verifyDay(store: SealStore, sign: Sign, day: string, seal: SealedDay | undefined) {
  const faults: string[] = [];
  const ends = new Map<string, { readonly count: number; readonly mac: string }>();
  const macs = new Map<string, string>();
  for await (const { entry, position } of store.ofDay(day)) {
    const end = ends.get(entry.writer) ?? { count: 0, mac: '' };
    faults.push(...entryFaults(sign, entry, { day, position, ...end }));
    ends.set(entry.writer, { count: entry.sequence, mac: entry.mac });
    macs.set(`${entry.writer} ${entry.sequence}`, entry.mac);
  }
  for (const { writer, entries, last } of seal?.chains ?? []) {
    const count = ends.get(writer)?.count ?? 0;
    if (count < entries) faults.push(`the last ${entries - count} of ${entries} entries of writer ${writer} are gone.`);
    else if (macs.get(`${writer} ${entries}`) !== last)
      faults.push(`entry ${entries} of writer ${writer} is not the sealed one.`);
  }
  const sealedEntries = seal?.chains.reduce((sum, { entries }) => sum + entries, 0);
  const late = sealedEntries === undefined ? 0 : Math.max(0, macs.size - sealedEntries);
  return { faults, entries: macs.size, late };
}

interface Place {
  readonly day: string;
  readonly position: string;
  /** Of the entry before it. */
  readonly count: number;
  readonly mac: string;
}

function entryFaults(sign: Sign, entry: ChainedEntry, { day, position, count, mac }: Place): string[] {
  const name = `entry ${entry.sequence} of writer ${entry.writer} (${entry.id})`;
  if (macOf(sign, entry) !== entry.mac) return [`${name} was altered or inserted, or made with another secret.`];
  if (position !== `${entry.at}#${entry.id}` || dayOf(entry.at) !== day) return [`${name} was moved to another place.`];
  if (entry.sequence !== count + 1) return [`${entry.sequence - count - 1} entries before ${name} are gone.`];
  return entry.previous === mac ? [] : [`${name} does not follow the one before it.`];
}
