import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Clock } from '../../src/kernel/clock.ts';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK, type JWTPayload } from 'jose';

interface SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly publicJwk: JWK;
}

export type IssuerPath = '/.well-known/openid-configuration' | '/jwks';

async function newKey(kid: string, alg = 'ES256'): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, publicJwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
}

/** An OIDC issuer on this machine, made with jose. */
export type OidcIssuer = Awaited<ReturnType<typeof startOidcIssuer>>;

export async function startOidcIssuer(clock: Pick<Clock, 'now'>) {
  let keys = [await newKey('key-1')];
  /** Answers of the test's own, by path, in place of the right ones. */
  const answers: Partial<Record<IssuerPath, (response: ServerResponse) => void>> = {};
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const path = request.url as IssuerPath;
    requests.push(path);
    const own = answers[path];
    if (own) return own(response);
    const body =
      path === '/jwks'
        ? { keys: keys.map(({ publicJwk }) => publicJwk) }
        : { issuer: url, jwks_uri: `${url}/jwks`, response_types_supported: ['code'] };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const seconds = () => Math.floor(clock.now() / 1000);

  return {
    url,
    answers,
    /** The paths that were asked for. */
    requests,
    /** A token that is right in everything but what is changed; a claim that is undefined is left out. */
    async token(
      claims: Record<string, unknown> = {},
      change: { readonly header?: object; readonly key?: SigningKey } = {},
    ): Promise<string> {
      const key = change.key ?? keys.at(-1)!;
      const all = { iss: url, sub: 'subject-1', iat: seconds(), exp: seconds() + 3_600, ...claims };
      const payload = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as JWTPayload;
      return new SignJWT(payload)
        .setProtectedHeader({ alg: key.alg, kid: key.kid, ...change.header })
        .sign(key.privateKey);
    },
    /** Signs with a new key from now on; the old ones stay published unless they are withdrawn. */
    async rotate({ withdraw = false, alg = 'ES256' } = {}) {
      const key = await newKey(`key-${keys.length + 1}-${requests.length}`, alg);
      keys = withdraw ? [key] : [...keys, key];
      return key;
    },
    newKey,
    publicKey: () => keys.at(-1)!.publicJwk,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
