import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { openInstallation, publishedAt, run } from './installation.ts';
import { writtenManifest } from './manifest.ts';

/** `npm run operations:export -- --url URL --out FILE`: writes what a tenant has published, for `schema:check` to look at. */
run(async () => {
  const options = { out: { type: 'string' }, url: { type: 'string', default: 'http://127.0.0.1:4000' } } as const;
  const { values } = parseArgs({ options });
  if (values.out === undefined) throw new Error('--out is the file to write.');
  const published = await publishedAt(await openInstallation(values.url));
  writeFileSync(values.out, writtenManifest(published));
  process.stdout.write(`${published.size} operations are in ${values.out}.\n`);
});
