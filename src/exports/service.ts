import { isoTime } from '../kernel/clock.ts';
import type { TenantScope } from '../tenancy/scope.ts';
import type { ExportLinks } from './links.ts';
import type { ExportKind, ExportOrder, ExportSource, ExportSources } from './model.ts';

/** Exports of one tenant's data. */
export interface Exports extends Pick<ExportSource<ExportOrder>, 'text'> {
  /** An address at which whoever has it may download the export for a few minutes. @throws BAD_USER_INPUT for what cannot be exported. */
  link(order: ExportOrder): { readonly url: string; readonly expiresAt: string };
}

export interface ExportsDependencies {
  readonly scope: TenantScope;
  readonly sources: ExportSources;
  readonly links: ExportLinks;
  readonly addressOf: (kind: ExportKind, link: string) => string;
}

export function createExports({ scope, sources, links, addressOf }: ExportsDependencies): Exports {
  // Each order goes to the source of its own kind.
  const sourceOf = ({ kind }: ExportOrder) => sources[kind] as ExportSource<ExportOrder>;
  return {
    link(order) {
      sourceOf(order).check(order);
      const { link, expiresAt } = links.seal({ scope, order });
      return { url: addressOf(order.kind, link), expiresAt: isoTime(expiresAt) };
    },
    text: (order, after) => sourceOf(order).text(order, after),
  };
}
