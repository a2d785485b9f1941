import type { FastifyInstance } from 'fastify';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Listens, and returns the URL. @throws an error that names the setting of the port, so that it is known what to change. */
export async function listen(server: FastifyInstance, { host, port }: Address, setting: string): Promise<string> {
  try {
    return await server.listen({ host, port });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = code === 'EADDRINUSE' ? 'the port is in use' : message;
    throw new Error(`${setting}: cannot listen on ${host}, port ${port}: ${reason}`, { cause: error });
  }
}
