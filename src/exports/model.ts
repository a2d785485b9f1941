export type ExportFormat = 'CSV' | 'JSONL';

interface Period {
  readonly start: Date;
  /** The first moment after it. */
  readonly end: Date;
}

/** What is to be exported: usage events, the audit trail, or everything there is of a tenant. */
export type ExportOrder =
  | ({ readonly kind: 'usage'; readonly format: ExportFormat } & Period)
  | ({ readonly kind: 'audit' } & Period)
  | { readonly kind: 'tenant' };

export type ExportKind = ExportOrder['kind'];
export type OrderOf<K extends ExportKind> = Extract<ExportOrder, { readonly kind: K }>;

/** One kind of export, of one tenant. */
export interface ExportSource<O> {
  /** @throws BAD_USER_INPUT for what cannot be exported. */
  readonly check: (order: O) => void;
  /**
   * The export as text, in pieces of some 64 KB that are made as they are read; it reads no further ahead than a page. With
   * `after`, the id of a row, it goes on right behind that row, without a header. @throws BAD_USER_INPUT before anything is read.
   */
  readonly text: (order: O, after: string | null) => AsyncIterable<string>;
}

export type ExportSources = { readonly [K in ExportKind]: ExportSource<OrderOf<K>> };
