import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { serverAudits, type AuditResult } from 'graphql-http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startWorld, type World } from '../support/world.ts';

/**
 * Options of the specification that would let a page of another site send a query: GET without a header that needs a preflight. Each has
 * its reason in docs/http.md.
 */
const LEFT_OUT = ['5A70', '6A70', 'D6D5'];

let world: World;
let results: readonly AuditResult[];
beforeAll(async () => {
  world = await startWorld();
  const audits = serverAudits({ url: `${world.url}/graphql`, fetchFn: fetch });
  results = await Promise.all(audits.map((audit) => audit.fn()));
});
afterAll(() => world.stop());

describe('GraphQL over HTTP, as the graphql-http audits see it', () => {
  const failed = (level: 'MUST' | 'SHOULD' | 'MAY') =>
    results.filter(({ name, status }) => name.startsWith(level) && status !== 'ok').map(({ id }) => id);

  it('asks everything there is to ask', () => {
    expect(results.length).toBeGreaterThan(50);
    expect(results.filter(({ name }) => !/^(MUST|SHOULD|MAY) /.test(name))).toEqual([]);
  });

  it.each(['MUST', 'SHOULD'] as const)('every %s holds', (level) => {
    expect(failed(level)).toEqual([]);
  });

  it('every MAY holds but those that would weaken the protection against other sites, which docs/http.md lists', () => {
    expect(failed('MAY').sort()).toEqual(LEFT_OUT);
    const documented = readFileSync(join(import.meta.dirname, '../../docs/http.md'), 'utf8');
    for (const id of LEFT_OUT) expect(documented).toContain(`\`${id}\``);
  });
});
