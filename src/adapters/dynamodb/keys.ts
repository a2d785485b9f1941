import { createHash } from 'node:crypto';
import type { DueWork } from '../../conversations/ports.ts';
import type { ParkedWorkKind } from '../../parked/model.ts';
import type { PeriodKind } from '../../usage/periods.ts';
import { parseTenantId, PLATFORM, type TenantId } from '../../tenancy/tenant-id.ts';

/** Where a message stands. */
export interface Place {
  readonly conversationId: string;
  readonly sequence: number;
}

declare const brand: unique symbol;

/** The primary key of a row. Only this file makes one: a row outside a tenant's partitions cannot be named with that tenant's keys. */
export interface Key {
  readonly PK: string;
  readonly SK: string;
  readonly [brand]?: never;
}

/** What a key may be made of. A `#` would let one tenant's key reach into another's partition. */
const PART = /^[A-Za-z0-9._-]+$/;
const SEQUENCE_DIGITS = 10;
const DUE_SHARDS = 8;
/** Conversations of a tenant are listed from this many index partitions; a large tenant will need more. */
const CONVERSATION_LIST_SHARD = '0';

function join(...parts: readonly string[]): string {
  const bad = parts.find((part) => !PART.test(part));
  if (bad !== undefined) throw new Error('A key part holds a character that keys may not hold.');
  return parts.join('#');
}

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');
/** A name from outside, as it stands where it fits into a key. */
const part = (text: string): string => (PART.test(text) ? text : digest(text));
const sequenceKey = (sequence: number): string => `M#${String(sequence).padStart(SEQUENCE_DIGITS, '0')}`;

const PERIOD = { HOUR: 'H', DAY: 'D' } as const;
const padded = (number: number): string => String(number).padStart(6, '0');

export type TenantKeys = ReturnType<typeof tenantKeys>;

/** Every key of one tenant's rows, in every table and index. Each begins with the tenant, which is what `dynamodb:LeadingKeys` checks. */
export function tenantKeys(tenantId: TenantId) {
  const partition = (...parts: readonly string[]): string => join('T', tenantId, ...parts);
  const key = (SK: string, ...parts: readonly string[]): Key => ({ PK: partition(...parts), SK });
  return {
    tenant: (): Key => key('CFG', 'CFG'),
    user: (userId: string): Key => key('P', 'U', userId),
    email: (email: string): Key => key('L', 'EM', digest(email)),
    sessionsOf: (userId: string) => ({ PK: partition('S', userId) }),
    session: (userId: string, sessionId: string): Key => key(join(sessionId), 'S', userId),
    apiKey: (id: string): Key => key(join(id), 'K'),
    apiKeys: () => ({ PK: partition('K') }),
    operationUsage: (keyId: string, operationId: string): Key => key(join(operationId), 'KU', keyId),
    operationUsages: (keyId: string) => ({ PK: partition('KU', keyId) }),
    operationIndex: (): Key => key('INDEX', 'OP'),
    operationBody: (id: string, publication: string): Key => key(join(id, publication), 'OP'),
    conversation: (id: string): Key => key('META', 'C', id),
    message: (conversationId: string, sequence: number): Key => key(sequenceKey(sequence), 'C', conversationId),
    messagesOf: (conversationId: string) => ({ PK: partition('C', conversationId), prefix: 'M#' }),
    messageRange: (conversationId: string, from: number, to: number) => ({
      PK: partition('C', conversationId),
      between: [sequenceKey(from), sequenceKey(to)] as const,
    }),
    contentChunk: ({ conversationId, sequence }: Place, edition: string, index: number): Key =>
      key(`${sequenceKey(sequence)}#${join(edition, String(index).padStart(4, '0'))}`, 'B', conversationId),
    contentsOf: (conversationId: string) => ({ PK: partition('B', conversationId) }),
    turn: (turnKey: string): Key => key('S', 'TURN', turnKey),
    usageEvent: (hour: string, id: string): Key => key(join(id), 'E', hour, '0'),
    usageEventsOf: (hour: string) => ({ PK: partition('E', hour, '0') }),
    /** Of an hour, the events whose ids lie between these; both are ids or the beginnings of some. */
    usageEventsBetween: (hour: string, from: string, to: string) => ({
      PK: partition('E', hour, '0'),
      between: [join(from), join(to)] as const,
    }),
    issuers: (): Key => key('ISSUERS', 'CFG'),
    /** A sign-in with an issuer, by the name it has there. */
    externalSignIn: (userId: string, name: string): Key => key(join(name), 'XS', userId),
    webhook: (): Key => key('WEBHOOK', 'CFG'),
    alert: (name: string): Key => key(join(name), 'AL'),
    /** Index attributes: alerts, newest first, by an id that sorts by time. */
    listedAlert: (id: string) => ({ gsi1PK: partition('ALERTS'), gsi1SK: join(id) }),
    allAlerts: () => ({ index: 'gsi1', PK: partition('ALERTS') }) as const,
    quota: (month: string): Key => key(join(month), 'Q'),
    usagePeriod: (kind: PeriodKind, name: string): Key => key(`${PERIOD[kind]}#${join(name)}`, 'R'),
    usagePeriods: (kind: PeriodKind, from: string, to: string) => ({
      PK: partition('R'),
      between: [`${PERIOD[kind]}#${join(from)}`, `${PERIOD[kind]}#${join(to)}`] as const,
    }),
    usagePart: (part: string, kind: PeriodKind, name: string, generation: number, index: number): Key =>
      key(`${PERIOD[kind]}#${join(name, padded(generation), padded(index))}`, 'RP', part),
    usageParts: (part: string, kind: PeriodKind, from: string, to: string) => ({
      PK: partition('RP', part),
      // `~` comes after every character of a key.
      between: [`${PERIOD[kind]}#${join(from)}`, `${PERIOD[kind]}#${join(to)}#~`] as const,
    }),
    /** Index attributes: lists, newest activity first. The sort key ends in the id, so that no two are equal. */
    listed: (conversationId: string, ownerId: string, activeAt: string) => ({
      gsi1PK: partition('CONV', CONVERSATION_LIST_SHARD),
      gsi1SK: `${activeAt}#${conversationId}`,
      gsi2PK: partition('UC', ownerId),
      gsi2SK: `${activeAt}#${conversationId}`,
    }),
    allConversations: () => ({ index: 'gsi1', PK: partition('CONV', CONVERSATION_LIST_SHARD) }) as const,
    conversationsOf: (ownerId: string) => ({ index: 'gsi2', PK: partition('UC', ownerId) }) as const,
    /** Index attributes of what was put aside; the sort key says all that the list shows. */
    listedParked: (kind: ParkedWorkKind, id: string, parkedAt: string, conversationId = '') => ({
      gsi3PK: partition('PARKED'),
      gsi3SK: `${parkedAt}#${join(kind, id)}#${conversationId}`,
    }),
    parkedWork: () => ({ index: 'gsi3', PK: partition('PARKED') }) as const,
    auditEntry: (day: string, position: string): Key => key(position, 'A', day, '0'),
    auditOfDay: (day: string) => ({ PK: partition('A', day, '0') }),
    /** Index attributes: what somebody did, and what was done to something. A kind without an id is in no index. */
    auditIndexes: (actorId: string | null, resource: string, position: string) => ({
      ...(actorId !== null && { gsi1PK: partition('AU', part(actorId)), gsi1SK: position }),
      ...(resource.includes('/') && { gsi2PK: partition('AR', ...resource.split('/').map(part)), gsi2SK: position }),
    }),
    auditOfActor: (actorId: string) => ({ index: 'gsi1', PK: partition('AU', part(actorId)) }) as const,
    auditOfResource: (resource: string) =>
      ({ index: 'gsi2', PK: partition('AR', ...resource.split('/').map(part)) }) as const,
    auditDay: (day: string): Key => key(join(day), 'AD'),
    auditDays: (from: string, to: string) => ({ PK: partition('AD'), between: [join(from), join(to)] as const }),
    auditSeal: (day: string): Key => key(join(day), 'AM'),
    auditSeals: (from: string, to: string) => ({ PK: partition('AM'), between: [join(from), join(to)] as const }),
    allUsers: () => ({ index: 'gsi1', PK: partition('USERS') }) as const,
    /** Who may be an administrator: see `user-directory.ts`. */
    roster: (): Key => key('R', 'ROSTER'),
    listedUser: (userId: string, email: string) => ({ gsi1PK: partition('USERS'), gsi1SK: `${email}#${userId}` }),
  };
}

/** Index attributes of work that is due at a time, whosever it is. */
export const dueAt = (ms: number, key: Key): { readonly duePK: string; readonly dueSK: string } => ({
  duePK: join('SYS', 'DUE', String(parseInt(digest(key.PK).slice(0, 8), 16) % DUE_SHARDS)),
  dueSK: `${new Date(ms).toISOString()}#${key.PK}`,
});

/** The same for one of several rows of a partition. */
export const dueRowAt = (ms: number, key: Key): { readonly duePK: string; readonly dueSK: string } => {
  const { duePK, dueSK } = dueAt(ms, key);
  return { duePK, dueSK: `${dueSK}#${key.SK}` };
};

/** The partitions of the due index. */
export const duePartitions = (): string[] =>
  Array.from({ length: DUE_SHARDS }, (_, shard) => join('SYS', 'DUE', String(shard)));

/** The partition of the due index that holds what was put aside: no sweeper reads it. */
export const PARKED = join('SYS', 'PARKED');

export const parkedSince = (ms: number, key: Key) => ({
  duePK: PARKED,
  dueSK: `${new Date(ms).toISOString()}#${key.PK}`,
});

/** The same for one of several rows of a partition. */
export const parkedRowSince = (ms: number, key: Key) => {
  const { duePK, dueSK } = parkedSince(ms, key);
  return { duePK, dueSK: `${dueSK}#${key.SK}` };
};

/** The directory of tenants. */
export const directory = () => ({ PK: join('SYS', 'TENANTS') });
export const directoryEntry = (tenantId: TenantId): Key => ({ ...directory(), SK: join(tenantId) });

/** Whose an issuer is. What is one tenant's alone sorts before what several share. */
export const issuerEntries = (issuer: string) => ({ PK: join('SYS', 'ISSUER', digest(issuer)) });
export const issuerEntry = (issuer: string, claimValue: string | null): Key => ({
  ...issuerEntries(issuer),
  SK: claimValue === null ? 'D' : join('S', digest(claimValue)),
});

/** The removals of tenants. */
export const removals = () => ({ PK: join('SYS', 'REMOVALS') });
export const removal = (tenantId: TenantId): Key => ({ ...removals(), SK: join(tenantId) });

/** What the keys of all rows in a tenant's partitions begin with. */
export const tenantPrefix = (tenantId: TenantId): string => `${join('T', tenantId)}#`;
/** What the keys of all rows outside any tenant's partitions begin with. Of these, a tenant's name it as their sort key, or as `tenant`. */
export const SYSTEM_PREFIX = 'SYS#';
/** What is kept of a tenant that is gone: that there was one of its id, and how it was removed. */
export const memorials = (): string[] => [directory().PK, removals().PK];

/** The directory of audit trails. */
export const auditTrails = () => ({ PK: join('SYS', 'AUDIT') });
/** Whose trail an entry of the directory is. */
export const trailOwner = (SK: string): TenantId | null => (SK === PLATFORM ? PLATFORM : parseTenantId(SK));
export const auditTrail = (tenantId: TenantId): Key => ({ ...auditTrails(), SK: join(tenantId) });

/** Which hour a due row of the usage table is; null for a row no closer of this version knows. */
export function parseDueHour({ PK, SK }: { readonly PK: string; readonly SK: string }) {
  const [, tenant = '', kind] = PK.split('#');
  const tenantId = parseTenantId(tenant);
  return tenantId !== null && kind === 'R' && SK.startsWith('H#') ? { tenantId, hour: SK.slice('H#'.length) } : null;
}

/** Which alert a due or parked row of the usage table is; null for a row that is none. */
export function parseDueAlert({ PK, SK }: { readonly PK: string; readonly SK: string }) {
  const [, tenant = '', kind] = PK.split('#');
  const tenantId = parseTenantId(tenant);
  return tenantId !== null && kind === 'AL' ? { tenantId, name: SK } : null;
}

/** What a due row is, read from its key; null for a row no sweeper of this version knows. */
export function parseDue(key: { readonly PK: string }): DueWork | null {
  const [, tenant = '', kind, id = ''] = key.PK.split('#');
  const tenantId = parseTenantId(tenant);
  if (tenantId === null) return null;
  if (kind === 'TURN') return { kind: 'TURN', tenantId, turnKey: id };
  return kind === 'C' ? { kind: 'DELETION', tenantId, conversationId: id } : null;
}
