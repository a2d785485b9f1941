import { readFileSync } from 'node:fs';
import { operationIdOf } from '../partners/operation-id.ts';

/** Operations as code generators write them: their bodies by their ids. */
export type Manifest = ReadonlyMap<string, string>;

/** The first name in a body, for people to read. */
export const nameOf = (body: string): string => /\b(?:query|mutation|subscription)\s+(\w+)/.exec(body)?.[1] ?? '';

/**
 * Reads what GraphQL Code Generator's client preset writes with `persistedDocuments: { hashAlgorithm: 'sha256' }`: an object of bodies by
 * their ids, with or without `sha256:` before them.
 * @throws an error that names every fault.
 */
export function readManifest(path: string): Manifest {
  const given = JSON.parse(readFileSync(path, 'utf8')) as unknown;
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new Error(`${path} is no manifest: it must be an object of operations by their ids.`);
  const faults: string[] = [];
  const manifest = new Map<string, string>();
  for (const [text, body] of Object.entries(given)) {
    const id = text.replace(/^sha256:/, '');
    if (typeof body !== 'string') faults.push(`${text}: it is no document`);
    else if (/^(sha1:)?[0-9a-f]{40}$/.test(text))
      faults.push(`${nameOf(body)}: its id is a SHA-1; set persistedDocuments: { hashAlgorithm: 'sha256' }`);
    else if (id !== operationIdOf(body)) faults.push(`${nameOf(body)}: its id is not the SHA-256 of its body`);
    else manifest.set(id, body);
  }
  if (faults.length > 0) throw new Error(`${path}:\n- ${faults.join('\n- ')}`);
  return manifest;
}

/** A manifest as it is written: in an order that does not change by itself. */
export const writtenManifest = (manifest: Manifest): string => {
  const sorted = [...manifest].sort(
    ([idA, a], [idB, b]) => nameOf(a).localeCompare(nameOf(b)) || idA.localeCompare(idB),
  );
  return `${JSON.stringify(Object.fromEntries(sorted.map(([id, body]) => [`sha256:${id}`, body])), null, 2)}\n`;
};
