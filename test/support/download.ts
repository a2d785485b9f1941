import { request, type IncomingMessage } from 'node:http';

/** A download that goes on only as far as it is read; `leave` drops the connection. */
export interface Download {
  readonly response: IncomingMessage;
  readonly leave: () => void;
}

/** Begins a download over a connection of its own. */
export const beginDownload = (address: string, headers: Readonly<Record<string, string>> = {}): Promise<Download> =>
  new Promise((resolve, reject) => {
    const sent = request(address, { headers, agent: false }, (response) => {
      response.on('error', () => undefined); // being cut off is what some tests are about
      if (response.statusCode !== 200) reject(new Error(`refused with ${response.statusCode}`));
      resolve({ response, leave: () => sent.destroy() });
    });
    sent.on('error', reject);
    sent.end();
  });

/** The path of an export. */
export const exportPath = (parameters: Readonly<Record<string, string>>): string =>
  `/exports/usage?${new URLSearchParams(parameters).toString()}`;
