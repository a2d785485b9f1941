import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JWK } from 'jose';

/** What an installation keeps to itself: the key that signs tokens, and the one that signs cursors. */
export interface Secrets {
  readonly signingKey: JWK;
  readonly cursorSecret: string;
}

/** The embedded stack's secrets: made once, and kept in the data folder for its owner alone; without a folder, made for this run. */
export async function loadSecrets(dataDir: string | null, newSigningKey: () => Promise<JWK>): Promise<Secrets> {
  const newSecrets = async () => ({
    signingKey: await newSigningKey(),
    cursorSecret: randomBytes(32).toString('base64url'),
  });
  if (dataDir === null) return newSecrets();
  const file = join(dataDir, 'secrets.json');
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Secrets;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const secrets = await newSecrets();
  await mkdir(dataDir, { recursive: true });
  // Written aside and renamed, so that a crash leaves no half a file.
  await writeFile(`${file}.new`, JSON.stringify(secrets), { mode: 0o600 });
  await rename(`${file}.new`, file);
  return secrets;
}
