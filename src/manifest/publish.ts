import { parseArgs } from 'node:util';
import { openInstallation, publishedAt, run } from './installation.ts';
import { nameOf, readManifest, type Manifest } from './manifest.ts';

/** A request has at most 1 MiB; what JSON adds to a body is well within the rest. */
const PART_BYTES_MAX = 700_000;

const PUBLISH = `mutation Publish($operations: [PersistedOperationInput!]!) {
  publishOperations(operations: $operations) { newCount }
}`;

function parts(manifest: Manifest): (readonly [string, string])[][] {
  const all: (readonly [string, string])[][] = [[]];
  let bytes = 0;
  for (const entry of manifest) {
    const size = Buffer.byteLength(JSON.stringify(entry[1]));
    if (bytes + size > PART_BYTES_MAX) all.push([]);
    bytes = bytes + size > PART_BYTES_MAX ? size : bytes + size;
    all.at(-1)?.push(entry);
  }
  return all;
}

/** `npm run operations:publish -- --manifest FILE --url URL`: publishes what a code generator wrote, and says what is new. */
run(async () => {
  const options = { manifest: { type: 'string' }, url: { type: 'string', default: 'http://127.0.0.1:4000' } } as const;
  const { values } = parseArgs({ options });
  if (values.manifest === undefined) throw new Error('--manifest is the file that the code generator wrote.');
  const manifest = readManifest(values.manifest);
  const installation = await openInstallation(values.url);
  const before = await publishedAt(installation);
  for (const part of parts(manifest))
    await installation(PUBLISH, { operations: part.map(([id, body]) => ({ id, body })) });
  for (const [id, body] of manifest)
    process.stdout.write(`${before.has(id) ? 'unchanged' : 'new      '}  ${id.slice(0, 12)}  ${nameOf(body)}\n`);
  const added = [...manifest.keys()].filter((id) => !before.has(id)).length;
  process.stdout.write(`${added} new, ${manifest.size - added} unchanged.\n`);
});
