import type { TenantId } from '../tenancy/tenant-id.ts';

export type AuditResult = 'SUCCESS' | 'FAILURE';

/** Facts of an act beside who, what and how it ended: codes, counts, times, ids. Never a secret, never the text of a message. */
export type AuditDetails = Readonly<Record<string, string | number | boolean | null>>;

/** An act, as it is told to the trail. */
export interface AuditFact {
  /** Whose trail it is in: the tenant in which it was done, or the platform. */
  readonly tenantId: TenantId;
  /** Who acted; null where that is not known, or nobody proved who they are. */
  readonly actorId: string | null;
  /** What was done, e.g. `conversation.delete`. */
  readonly action: string;
  /** What it was done to, as `kind` or `kind/id`, e.g. `conversation/conv-01J…`. */
  readonly resource: string;
  readonly result: AuditResult;
  readonly ipAddress: string | null;
  readonly userAgent: string | null;
  readonly requestId: string | null;
  readonly details: AuditDetails;
}

/** An act in the trail. */
export interface AuditEntry extends AuditFact {
  /** A ULID; in the order in which its writer recorded. */
  readonly id: string;
  readonly at: string;
}

/** Where an entry stands in the chain that one writer (a run of a process) makes of one trail on one UTC day. */
export interface Link {
  /** A ULID. */
  readonly writer: string;
  /** From 1, without gaps. */
  readonly sequence: number;
  /** The MAC of the entry before it; empty for the first one. */
  readonly previous: string;
  /** Over the entry and all of the above. */
  readonly mac: string;
}

export type ChainedEntry = AuditEntry & Link;

/** `2026-11-20T17:33:17.000Z` → `20261120` */
export const dayOf = (at: string): string => at.slice(0, 10).replaceAll('-', '');

export const DAY_MS = 86_400_000;

/** The first moment of a day, `20261120`. */
export const dayStart = (day: string): number =>
  Date.UTC(Number(day.slice(0, 4)), Number(day.slice(4, 6)) - 1, Number(day.slice(6, 8)));
