// Chromium for tests of what a person sees: the one on the PATH, else Debian's, unpacked into the project's cache with
// the libraries and fonts that it needs. It runs without a sandbox, since tests run as root, opens nothing but what a
// test asks for, and leaves no profile behind.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type BrowserContext, type BrowserContextOptions } from 'playwright-core';
import { findPrograms, programFile } from './programs.ts';

const wanted = {
  // With fonts that are the same on every machine.
  packages: ['chromium', 'fonts-dejavu-core'],
  proof: [['chromium', '--version']],
} as const;
interface Found {
  readonly executablePath: string;
  readonly env: NodeJS.ProcessEnv;
}

/** fontconfig's own settings name folders of the machine, which may have neither them nor fonts. */
const fontsConfiguration = (root: string, cache: string): string =>
  '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd"><fontconfig>' +
  `<dir>${join(root, 'usr/share/fonts')}</dir><cachedir>${cache}</cachedir>` +
  '<alias><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>' +
  '<alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>' +
  '</fontconfig>\n';

/** @throws Error that says why there is none. */
async function findChromium(profile: string): Promise<Found> {
  const { root, env } = await findPrograms(wanted);
  const executablePath = programFile('chromium', env);
  if (root === '/') return { executablePath, env };
  const fonts = join(profile, 'fonts.conf');
  await writeFile(fonts, fontsConfiguration(root, join(profile, 'fonts')));
  return { executablePath, env: { ...env, FONTCONFIG_FILE: fonts } };
}

/** Fetching 110 MB over a slow line, once for a machine. */
export const browserWithinMs = 600_000;

/** A running browser with a profile of its own. */
export interface Browser {
  /** A fresh context: nothing is shared with another. */
  open(options?: BrowserContextOptions): Promise<BrowserContext>;
  close(): Promise<void>;
}

export async function startChromium(): Promise<Browser> {
  const profile = await mkdtemp(join(tmpdir(), 'electord-chromium-'));
  const { executablePath, env } = await findChromium(profile);
  const browser = await chromium.launch({
    executablePath,
    env: { ...definedOnly(env), HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
    headless: true,
    chromiumSandbox: false,
    args: [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
      '--disable-dev-shm-usage',
      // Names as outside, without a resolver.
      '--host-resolver-rules=MAP *.example 127.0.0.1',
    ],
  });
  return {
    open: (options) => browser.newContext(options),
    close: async () => {
      await browser.close();
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

const definedOnly = (env: NodeJS.ProcessEnv): Record<string, string> =>
  Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
