import { existsSync } from 'node:fs';
import { chromium, type Browser } from 'playwright-core';

/** Where Debian, Fedora, Google and Homebrew put it. `CHROMIUM` names another one. */
const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/** The Chromium of this machine; null where there is none. */
export const CHROMIUM = process.env['CHROMIUM'] ?? PLACES.find((path) => existsSync(path)) ?? null;

/** Where it must be there, a run without it fails: `CI_BROWSER=required`. */
export const CHROMIUM_REQUIRED = process.env['CI_BROWSER'] === 'required';

if (CHROMIUM === null && !CHROMIUM_REQUIRED)
  process.stderr.write('No Chromium here: the browser tests are skipped. Install one, or name it in CHROMIUM.\n');

/** A Chromium that asks nobody for anything by itself, so that every request seen is the page's. */
export const launchChromium = (): Promise<Browser> =>
  chromium.launch({
    ...(CHROMIUM !== null && { executablePath: CHROMIUM }),
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
    ],
  });
