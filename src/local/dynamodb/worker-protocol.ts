import type { RepairReport } from './index-repair.ts';

/** What the worker is started with. */
export interface WorkerSettings {
  /** Absent: in memory. */
  storePath?: string;
  host: string;
  port: number;
  /** Compare the indexes with their tables before serving. */
  repair: boolean;
}

export type ToWorker = 'close' | 'count-iterators';

export type FromWorker =
  | { type: 'ready'; port: number; repaired: RepairReport | null }
  | { type: 'iterators'; open: number }
  | { type: 'closed' };
