import { createServer, request as forward } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ulidPrefix } from '../../src/kernel/ids.ts';
import { periodName } from '../../src/usage/periods.ts';
import { aTurn, attribute, loadUsage } from './usage-rows.ts';

const HOUR_MS = 3_600_000;

/** A row as the engine sends it, of some hour and turn. */
const MADE_UP = JSON.stringify(
  attribute({ ...aTurn(0, { turnId: 'THE-TURN' }), PK: 'THE-HOUR', SK: 'THE-TURN', v: 2, w: 'made up' }).M,
);

interface QueryBody {
  readonly ExpressionAttributeValues?: Readonly<Record<string, { readonly S: string }>>;
  readonly ExclusiveStartKey?: { readonly SK: { readonly S: string } };
  readonly Limit?: number;
}

/**
 * An engine in which one tenant has any number of turns, `perHour` in each of some hours, which follow one another or begin `everyMs`: they are made up as they are asked for, where
 * storing a hundred thousand would take most of a minute. Everything else is passed on to the engine behind it.
 */
export async function startManyEvents(
  endpoint: string,
  options: { tenant: string; startMs: number; hours: number; perHour: number; everyMs?: number },
) {
  const { tenant, startMs, hours, perHour, everyMs = HOUR_MS } = options;
  const starts = Array.from({ length: hours }, (_, n) => startMs + n * everyMs);
  const idsOf = new Map(
    starts.map((from) => [
      `T#${tenant}#E#${periodName('HOUR', from)}#0`,
      Array.from(
        { length: perHour },
        (_, n) => ulidPrefix(from + Math.floor((n * HOUR_MS) / perHour)) + String(n).padStart(16, '0'),
      ),
    ]),
  );
  // One real event in each hour, for the mark that says there are any. It is hidden by those that are made up.
  await loadUsage(
    endpoint,
    tenant,
    starts.map((from) => aTurn(from)),
  );

  /** The answer to a query of one of the hours, or null for any other request. */
  function answer(body: string): string | null {
    if (!body.includes(`T#${tenant}#E#`)) return null;
    const { ExpressionAttributeValues = {}, ExclusiveStartKey, Limit = 1_000 } = JSON.parse(body) as QueryBody;
    const [from = '', to = '', PK = ''] = Object.values(ExpressionAttributeValues)
      .map(({ S }) => S)
      .sort();
    const ids = idsOf.get(PK);
    if (!ids) return null;
    const behind = ExclusiveStartKey?.SK.S ?? '';
    const begin = ids.findIndex((id) => id >= from && id > behind);
    const page = begin < 0 ? [] : ids.slice(begin, begin + Limit).filter((id) => id <= to);
    const items = page.map((id) => MADE_UP.replaceAll('THE-HOUR', PK).replaceAll('THE-TURN', id)).join();
    const last = page.at(-1);
    const more = last !== undefined && last !== ids.at(-1);
    const key = JSON.stringify({ PK: { S: PK }, SK: { S: last } });
    return `{"Count":${page.length},"Items":[${items}]${more ? `,"LastEvaluatedKey":${key}` : ''}}`;
  }

  const target = new URL(endpoint);
  const server = createServer((incoming, response) => {
    const parts: Buffer[] = [];
    incoming.on('data', (part: Buffer) => parts.push(part));
    incoming.on('end', () => {
      const body = Buffer.concat(parts);
      const made = answer(body.toString());
      if (made !== null) {
        response.setHeader('content-type', 'application/x-amz-json-1.0').end(made);
        return;
      }
      const { hostname: host, port } = target;
      const options = { host, port, method: 'POST', path: '/', headers: incoming.headers };
      forward(options, (answered) => {
        response.writeHead(answered.statusCode ?? 500, answered.headers);
        answered.pipe(response);
      }).end(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    events: hours * perHour,
    period: { start: new Date(startMs).toISOString(), end: new Date(startMs + hours * everyMs).toISOString() },
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
