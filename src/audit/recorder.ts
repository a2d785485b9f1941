import { isoTime, sleep, type Clock } from '../kernel/clock.ts';
import { createUlids, ulidTime } from '../kernel/ids.ts';
import { every, onDemand } from '../kernel/repeating.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { chained, type Sign } from './chain.ts';
import { deliver } from './delivery.ts';
import { createMemorySegment } from './memory-segment.ts';
import { dayOf, type AuditEntry, type AuditFact, type ChainedEntry } from './model.ts';
import type { AuditSpool, AuditTrails, SpoolSegment } from './ports.ts';

/** A file of the spool is closed at about this size, and removed when all of it is delivered. */
const SEGMENT_BYTES = 1_048_576;
/** How long to wait before the store is tried again: twice as long each time. */
const RETRY_MS = 500;
const RETRY_MS_MAX = 30_000;
/** How often the spool is searched for what other processes left. */
const ADOPT_EVERY_MS = 600_000;

/** What the log and the metrics are told. */
export interface RecorderLog {
  /** The store did not take so many entries: they wait, and it is tried again. */
  undelivered(entries: number, error: unknown): void;
  /** The disk does not work: entries wait in memory. */
  spoolFailed(error: unknown): void;
  /** Gone for good. */
  lost(entries: number, reason: string): void;
}

export interface RecorderDependencies {
  /** A ULID of this run of the process: it makes chains of its own. */
  readonly writer: string;
  readonly sign: Sign;
  readonly trails: AuditTrails;
  readonly spool: AuditSpool;
  readonly clock: Clock;
  readonly log: RecorderLog;
  /** What may wait in memory, and altogether. */
  readonly memoryBytesMax: number;
  readonly bytesMax: number;
}

/** Records what was done. */
export interface AuditRecorder {
  /** Returns at once and never throws: what is recorded is stored later, in order, and tried again until it is. */
  record(fact: AuditFact): void;
  /** Bytes of entries that wait. */
  waiting(): number;
  /** Resolves once nothing is being written or delivered. */
  idle(): Promise<void>;
  /** Takes up what processes that are gone have left, now and from time to time. */
  start(): void;
  /** Tries once more; what waits then stays in the spool for the next process. */
  close(): Promise<void>;
}

/**
 * Entries are chained as they are recorded, written to the spool at once, and delivered from there: to the store in the order of
 * their chain, so that whatever ends the process, what is stored is a chain without gaps. A process that takes over what another
 * has left stores the very same rows, so that none is there twice.
 */
export function createAuditRecorder(deps: RecorderDependencies): AuditRecorder {
  const { writer, sign, trails, spool, clock, log } = deps;
  const nextId = createUlids();
  /** The last entry of each trail. */
  const ends = new Map<TenantId, ChainedEntry>();
  /** How many entries of a trail were refused, until the trail itself says so. */
  const missing = new Map<TenantId, number>();
  const stopping = new AbortController();
  let pending: string[] = [];
  let pendingBytes = 0;
  let segments: SpoolSegment[] = [];
  /** The segment that is written to. */
  let current: SpoolSegment | null = null;
  /** How far the first segment is delivered. */
  let position = 0;
  let stopAdopting = () => {};

  const bytesOf = (some: readonly SpoolSegment[]) => some.reduce((sum, segment) => sum + segment.bytes(), 0);
  const waiting = () => pendingBytes + bytesOf(segments) - position;
  const inMemory = () => pendingBytes + bytesOf(segments.filter(({ durable }) => !durable));

  function record(fact: AuditFact): void {
    if (inMemory() >= deps.memoryBytesMax || waiting() >= deps.bytesMax) {
      missing.set(fact.tenantId, (missing.get(fact.tenantId) ?? 0) + 1);
      return log.lost(1, 'too much is waiting to be stored');
    }
    const id = nextId(clock.now());
    const entry: AuditEntry = { ...fact, id, at: isoTime(ulidTime(id)) };
    const last = ends.get(fact.tenantId);
    const sameDay = last !== undefined && dayOf(last.at) === dayOf(entry.at);
    const next = chained(sign, writer, sameDay ? last : null, entry);
    ends.set(fact.tenantId, next);
    const line = `${JSON.stringify(next)}\n`;
    pending.push(line);
    pendingBytes += Buffer.byteLength(line);
    writing.ask();
  }

  /** The trail says itself what is missing in it, once there is room again. */
  function tellMissing() {
    for (const [tenantId, entries] of missing) {
      missing.delete(tenantId);
      const unknown = { actorId: null, ipAddress: null, userAgent: null, requestId: null };
      record({
        ...{ tenantId, ...unknown, action: 'audit.lost', resource: 'audit' },
        ...{ result: 'FAILURE', details: { entries } },
      });
    }
  }

  const writing = onDemand(async () => {
    const lines = pending;
    pending = [];
    if (lines.length === 0) return;
    try {
      await append(lines, () => spool.open());
    } catch (error) {
      log.spoolFailed(error);
      current = null; // whatever it holds of these lines is stored once all the same
      await append(lines, () => Promise.resolve(createMemorySegment()));
    }
    pendingBytes -= lines.reduce((sum, line) => sum + Buffer.byteLength(line), 0);
    delivering.ask();
  });

  async function append(lines: readonly string[], open: () => Promise<SpoolSegment>) {
    if (current === null || current.bytes() >= SEGMENT_BYTES) segments.push((current = await open()));
    await current.append(lines);
  }

  const delivering = onDemand(async () => {
    for (let [segment] = segments; segment; [segment] = segments) {
      try {
        const { lines, next } = await segment.read(position);
        if (lines.length === 0) {
          if (segment === current && writing.running()) return; // it asks again
          await drop(segment);
        } else if (await deliverLines(lines)) position = next;
        else return;
      } catch (error) {
        log.spoolFailed(error);
        if (!(await pause(0))) return;
      }
    }
    tellMissing();
  });

  /** Removes a segment of which everything was delivered. */
  async function drop(segment: SpoolSegment) {
    if (segment === current) current = null;
    if (position < segment.bytes()) log.lost(1, 'a crash cut it in the middle');
    segments = segments.filter((each) => each !== segment);
    position = 0;
    await segment.remove();
  }

  /** False when it was given up because the process stops. */
  async function deliverLines(lines: readonly string[]): Promise<boolean> {
    let left: readonly ChainedEntry[] = lines.flatMap((line) => entryOf(line) ?? []);
    if (left.length < lines.length) log.lost(lines.length - left.length, 'the spool holds what is no entry');
    for (let tries = 0; ; tries++) {
      const undelivered = await deliver(left, trails);
      left = undelivered.left;
      if (left.length === 0) return true;
      log.undelivered(left.length, undelivered.error);
      if (!(await pause(tries))) return false;
    }
  }

  /** False when the process stops: there is no further try. */
  async function pause(tries: number): Promise<boolean> {
    if (stopping.signal.aborted) return false;
    await sleep(clock, Math.min(RETRY_MS * 2 ** tries, RETRY_MS_MAX), stopping.signal);
    return true;
  }

  async function adopt() {
    try {
      segments = [...segments, ...(await spool.adopt())];
      delivering.ask();
    } catch (error) {
      log.spoolFailed(error);
    }
  }

  async function idle() {
    while (writing.running() || delivering.running()) await Promise.all([writing.idle(), delivering.idle()]);
  }

  return {
    record,
    waiting,
    idle,
    start() {
      void adopt();
      stopAdopting = every(clock, ADOPT_EVERY_MS, () => void adopt());
    },
    async close() {
      stopAdopting();
      stopping.abort();
      delivering.ask();
      await idle();
      const leaving = segments.filter(({ durable }) => !durable);
      for (const segment of leaving) {
        const { lines } = await segment.read(segment === segments[0] ? position : 0);
        if (lines.length > 0) log.lost(lines.length, 'the process stops, and there is no disk for them');
      }
      await spool.close();
    },
  };
}

function entryOf(line: string): ChainedEntry | null {
  try {
    return JSON.parse(line) as ChainedEntry;
  } catch {
    return null;
  }
}
