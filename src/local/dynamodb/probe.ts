import { request } from 'node:http';

const TIMEOUT_MS = 10_000;

/** dynalite wants a signature but does not verify it. */
const HEADERS = {
  'Content-Type': 'application/x-amz-json-1.0',
  'X-Amz-Target': 'DynamoDB_20120810.ListTables',
  'X-Amz-Date': '20200101T000000Z',
  Authorization: 'AWS4-HMAC-SHA256 Credential=probe, SignedHeaders=host, Signature=none',
};

/**
 * Resolves when the engine at `host`:`port` answers ListTables, which reads its files; rejects when it does not.
 * A listening port proves nothing: dynalite listens before it has opened its store.
 */
export const probe = (host: string, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const call = request({ host, port, method: 'POST', headers: HEADERS, agent: false, timeout: TIMEOUT_MS });
    call.on('response', (response) => {
      response.resume();
      if (response.statusCode === 200) resolve();
      else reject(new Error(`the DynamoDB engine answered its first request with ${response.statusCode}`));
    });
    call.on('timeout', () => call.destroy(new Error(`the DynamoDB engine did not answer within ${TIMEOUT_MS} ms`)));
    call.on('error', reject);
    call.end('{}');
  });
