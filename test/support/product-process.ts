import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { LogLine } from './log-capture.ts';

const ROOT = join(import.meta.dirname, '../..');
/** What `npm start` runs it with: the project's own Node. */
const NODE = join(ROOT, 'node_modules/.bin/node');

/** What it has compiled once is kept for the next one: that is most of the time that a start takes. */
const NODE_COMPILE_CACHE = join(ROOT, 'node_modules/.cache/compiled');

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** The product in a process of its own, as `npm start` starts it. */
export interface ProductProcess {
  readonly pid: number;
  /** Everything it wrote so far. */
  output(): string;
  errors(): string;
  /** The lines of its log so far. */
  log(): LogLine[];
  /** The address it says it listens on; fails when it ends instead. */
  readonly url: Promise<string>;
  /** When it has ended and everything it started has let go of its output. */
  readonly exit: Promise<Exit>;
  /** To this process alone. */
  kill(signal: NodeJS.Signals): void;
  /** To it and everything it started, as a terminal does for Ctrl-C. */
  interrupt(): void;
  /** Ends it and everything it started, at once. */
  destroy(): Promise<void>;
}

/** A folder of its own for the data of one test. */
export function dataFolder(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'bedrock-graphql-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/**
 * Starts `src/main.ts` with these settings and no others: nothing of this machine's environment but the path.
 * By `npm` it is started as people start it; the process is npm's then.
 */
export function startProduct(
  settings: Readonly<Record<string, string>>,
  { by = 'node' }: { readonly by?: 'node' | 'npm' } = {},
): ProductProcess {
  const env = {
    PATH: process.env['PATH'] ?? '',
    PORT: '0',
    ADMIN_PORT: '0',
    LOG_LEVEL: 'info',
    NODE_COMPILE_CACHE,
    ...settings,
  };
  const [command, args] = by === 'npm' ? ['npm', ['start']] : [NODE, [join(ROOT, 'src/main.ts')]];
  // npm needs the project's folder; otherwise it is one without a `.env`, which would add to the settings.
  const cwd = by === 'npm' ? ROOT : tmpdir();
  // A group of its own, so that a test can end whatever it started.
  const child = spawn(command, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const lines: string[] = [];
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (errors += chunk));
  const reader = createInterface(child.stdout);
  const logLines = () => lines.flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as LogLine] : []));
  const exit = once(child, 'close').then(([code, signal]: unknown[]) => ({ code, signal }) as Exit);

  const url = new Promise<string>((resolve, reject) => {
    reader.on('line', (line) => {
      lines.push(line);
      if (!line.startsWith('{')) return;
      const { msg, url: address } = JSON.parse(line) as LogLine & { readonly url?: string };
      if (msg === 'listening' && address) resolve(address);
    });
    void exit.then(({ code }) => reject(new Error(`it ended with ${code} before it listened: ${errors}`)));
  });
  url.catch(() => undefined); // whoever waits for it sees the failure

  return {
    pid: child.pid ?? 0,
    output: () => lines.join('\n'),
    errors: () => errors,
    log: logLines,
    url,
    exit,
    kill: (signal) => void child.kill(signal),
    interrupt: () => void process.kill(-(child.pid ?? 0), 'SIGINT'),
    async destroy() {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // nothing of it is left
      }
      await exit;
    },
  };
}
