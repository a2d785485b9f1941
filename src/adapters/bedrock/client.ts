import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { BedrockAgentRuntimeClient } from '@aws-sdk/client-bedrock-agent-runtime';
import { NodeHttpHandler } from '@smithy/node-http-handler';

export interface BedrockOptions {
  readonly region: string;
  /** Another address than AWS's own: the emulator. */
  readonly endpoint?: string;
  /** Left out: found the way every AWS SDK finds them. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** How long the agent may stay silent, before its answer begins and within it. */
  readonly idleTimeoutMs: number;
}

const CONNECTION_TIMEOUT_MS = 3_000;
/** Calls at the same time; the SDK's default of 50 would queue the rest without a word. */
const SOCKETS_MAX = 200;

/**
 * HTTP/1.1, because the SDK's default HTTP/2 handler turns an abort, a timeout and a dead connection into a normal end of the
 * stream. One attempt, because a turn that the SDK repeats may repeat what its tools did: retrying is our decision.
 */
export function createBedrockClient({ region, endpoint, credentials, idleTimeoutMs }: BedrockOptions) {
  const agent = { keepAlive: true, maxSockets: SOCKETS_MAX };
  return new BedrockAgentRuntimeClient({
    region,
    maxAttempts: 1,
    requestHandler: new NodeHttpHandler({
      connectionTimeout: CONNECTION_TIMEOUT_MS,
      requestTimeout: idleTimeoutMs,
      throwOnRequestTimeout: true,
      socketTimeout: idleTimeoutMs,
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent(agent),
    }),
    ...(endpoint && { endpoint }),
    ...(credentials && { credentials }),
  });
}
