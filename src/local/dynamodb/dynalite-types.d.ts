/** The part of dynalite 4.0.0 that this folder uses; the package ships no types. */
declare module 'dynalite/db/index.js' {
  import type { Readable } from 'node:stream';

  /** An item in DynamoDB's JSON, e.g. `{ PK: { S: 'a' } }`. */
  export type Item = Record<string, Record<string, unknown>>;

  export interface KeySchemaElement {
    AttributeName: string;
    KeyType: 'HASH' | 'RANGE';
  }

  export interface Index {
    IndexName: string;
    IndexStatus?: string;
    KeySchema: KeySchemaElement[];
    Projection: { ProjectionType: string; NonKeyAttributes?: string[] };
  }

  export interface Table {
    TableName: string;
    TableStatus: string;
    KeySchema: KeySchemaElement[];
    GlobalSecondaryIndexes?: Index[];
    LocalSecondaryIndexes?: Index[];
  }

  export interface KeyRange {
    gte?: string;
    lt?: string;
    limit?: number;
  }

  export interface Batched<T> {
    nextv(size: number): Promise<T[]>;
    close(): Promise<void>;
  }

  export type Operation = { type: 'put'; key: string; value: unknown } | { type: 'del'; key: string };

  /** An abstract-level database whose values are JSON. */
  export interface Level {
    open(): Promise<void>;
    close(): Promise<void>;
    get(key: string): Promise<unknown>;
    getMany(keys: string[]): Promise<unknown[]>;
    put(key: string, value: unknown): Promise<void>;
    batch(operations: Operation[]): Promise<void>;
    clear(range: KeyRange): Promise<void>;
    keys(range?: KeyRange): Batched<string>;
    values(range?: KeyRange): Batched<unknown>;
    iterator(range?: KeyRange): Batched<[string, unknown]>;
    attachResource(resource: object): void;
    detachResource(resource: object): void;
    createKeyStream(range?: KeyRange): Readable;
    createValueStream(range?: KeyRange): Readable;
  }

  export interface Store {
    db: Level;
    tableDb: { createKeyStream(range?: KeyRange): Readable };
  }

  export interface StoreOptions {
    path?: string;
    createTableMs: number;
    deleteTableMs: number;
    updateTableMs: number;
  }

  export interface IndexActions {
    puts: { index: string; key: string; item: Item }[];
    deletes: { index: string; key: string }[];
  }

  const db: {
    create(options: StoreOptions): Store;
    createKey(item: Item, table: Table): string;
    getIndexActions(indexes: Index[], existing: Item | null, item: Item | null, table: Table): IndexActions;
  };
  export default db;
}

declare module 'dynalite' {
  import type { Server } from 'node:http';
  import type { StoreOptions } from 'dynalite/db/index.js';

  export default function dynalite(options: StoreOptions): Server;
}
