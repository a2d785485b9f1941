import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { sleep, type Clock } from '../kernel/clock.ts';
import type { Logger, OperationEnd } from './log.ts';

/** How long a gauge may take to be read before a scrape does without it. Prometheus itself waits for 10 s. */
export const GAUGE_TIMEOUT_MS = 1_000;

/** Seconds. Queries take milliseconds, waiting for an answer up to minutes. */
const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** A value that is looked up when somebody asks. */
export interface GaugeSource {
  readonly name: string;
  readonly help: string;
  readonly read: () => number | Promise<number>;
}

/**
 * What the installation counts, in the text format of Prometheus. Labels have few values: no tenant, user, operation name or id
 * may be one, for every value is a series that is kept for ever.
 */
export interface Metrics {
  operation(end: OperationEnd): void;
  /** A counter, and the function that adds to it: one, unless it is told more. */
  counter<Label extends string = never>(
    name: string,
    help: string,
    labelNames?: readonly Label[],
  ): (labels?: Readonly<Record<Label, string>>, count?: number) => void;
  /** A gauge that is read at every scrape. One that fails, or takes longer than a second, is left out of it. */
  gauge(source: GaugeSource): void;
  /** Everything as it is now. It never fails because a gauge does. */
  scrape(): Promise<string>;
  readonly contentType: string;
}

export interface MetricsOptions {
  readonly clock: Clock;
  readonly log: Logger;
}

/** A registry of its own, so that two servers in one process do not share their numbers. */
export function createMetrics({ clock, log }: MetricsOptions): Metrics {
  const register = new Registry();
  const registers = [register];
  collectDefaultMetrics({ register });

  const operations = new Counter({
    name: 'bedrock_graphql_operations_total',
    help: 'Operations that have ended, by their first error code, or ok.',
    labelNames: ['type', 'transport', 'code'],
    registers,
  });
  const durations = new Histogram({
    name: 'bedrock_graphql_operation_duration_seconds',
    help: 'How long operations took; subscriptions, how long they were open.',
    labelNames: ['type', 'transport'],
    buckets: DURATION_BUCKETS,
    registers,
  });

  /** The gauge's value; null if it cannot be had now. */
  async function readNow({ name, read }: GaugeSource): Promise<number | null> {
    const reading = new AbortController();
    try {
      const tooLate = sleep(clock, GAUGE_TIMEOUT_MS, reading.signal).then(() => NaN);
      const value = await Promise.race([read(), tooLate]);
      if (Number.isFinite(value)) return value;
      throw new Error('it gave no number in time');
    } catch (error) {
      log.warn({ gauge: name, reason: error instanceof Error ? error.message : String(error) }, 'gauge left out');
      return null;
    } finally {
      reading.abort();
    }
  }

  return {
    operation({ type, transport, durationMs, errorCodes }) {
      operations.inc({ type, transport, code: errorCodes[0] ?? 'ok' });
      durations.observe({ type, transport }, durationMs / 1000);
    },
    counter(name, help, labelNames = []) {
      const counter = new Counter({ name, help, labelNames, registers });
      return (labels, count = 1) => counter.inc(labels ?? {}, count);
    },
    gauge(source) {
      const { name, help } = source;
      const gauge: Gauge = new Gauge({
        name,
        help,
        registers,
        async collect() {
          const value = await readNow(source);
          if (value === null) gauge.remove();
          else gauge.set(value);
        },
      });
    },
    scrape: () => register.metrics(),
    contentType: register.contentType,
  };
}
