import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import type { TenantId } from '../tenancy/tenant-id.ts';

const PURPOSE = 'bedrock-graphql webhook secrets 1';
/** How the Standard Webhooks specification writes a secret: this, and the key in base64. */
const PREFIX = 'whsec_';
const SECRET_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** A new secret, as its tenant is shown it once. */
export const newSigningSecret = (): string => PREFIX + randomBytes(SECRET_BYTES).toString('base64');

/** The key that a secret stands for. */
export const signingKey = (secret: string): Buffer => Buffer.from(secret.slice(PREFIX.length), 'base64');

/** Signing secrets as they are kept: whoever reads the table alone cannot sign. */
export interface SecretSeal {
  seal(tenantId: TenantId, secret: string): string;
  /** Null for what was not sealed for this tenant with this installation's key. */
  open(tenantId: TenantId, sealed: string): string | null;
}

/** AES-256-GCM under a key of their own, derived from the installation's secret (RFC 5869), bound to their tenant. */
export function createSecretSeal(installationSecret: string): SecretSeal {
  const key = Buffer.from(hkdfSync('sha256', installationSecret, '', PURPOSE, 32));
  return {
    seal(tenantId, secret) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(tenantId));
      return Buffer.concat([nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()]).toString('base64url');
    },
    open(tenantId, sealed) {
      const bytes = Buffer.from(sealed, 'base64url');
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES), {
          authTagLength: TAG_BYTES,
        });
        decipher.setAAD(Buffer.from(tenantId)).setAuthTag(bytes.subarray(-TAG_BYTES));
        return decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)).toString() + decipher.final().toString();
      } catch {
        return null;
      }
    },
  };
}
