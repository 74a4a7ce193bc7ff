// Takes the pictures of the status page in docs/images, of real sidecars in a real Chromium:
// `node scripts/run-ts.mjs test/e2e/page-pictures.ts [FOLDER]`, after a build.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { startChromium } from '../harness/chromium.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { agreement, openStage } from './stage.ts';

const withinMs = 30_000;
const folder = process.argv[2] ?? join(process.cwd(), 'docs/images');
await mkdir(folder, { recursive: true });

const stage = await openStage({ size: 1 });
const browser = await startChromium();

async function open(url: string, dark: boolean, width: number, height: number): Promise<Page> {
  const viewport = { width, height };
  const context = await browser.open({ viewport, colorScheme: dark ? 'dark' : 'light' });
  const page = await context.newPage();
  page.setDefaultTimeout(withinMs);
  await page.goto(url);
  return page;
}

async function switchOver(through: Sidecar, to: string, reason: string): Promise<void> {
  const answer = await through.get('/switchover', {
    method: 'POST',
    local: true,
    timeoutMs: withinMs,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ to, reason }),
  });
  if (answer.status !== 200) throw new Error(answer.text);
}

/** A switchover, a crash, and another switchover, on a page that was open all the time; then a silent leader. */
async function take(): Promise<void> {
  const start = (id: string, host: string): Promise<Sidecar> =>
    stage.sidecar({
      election: 'orders',
      id,
      args: ['--ttl=5s', `--advertise=http://${host}:8080`],
    });
  const zero = await start('orders-0', '10.0.0.7');
  await agreement([zero]);
  const one = await start('orders-1', '10.0.0.8');
  await agreement([zero, one]);
  const two = await start('orders-2', '10.0.0.9');
  await agreement([zero, one, two]);
  const page = await open(two.localUrl, false, 1200, 1000);
  await page.waitForSelector('#members [data-member="orders-0"][data-word="answers"]');
  await switchOver(two, 'orders-1', 'kernel update on host 7');
  one.signal('SIGKILL');
  await one.exited;
  await agreement([zero, two]);
  const again = await start('orders-1', '10.0.0.8');
  const { leader } = await agreement([zero, two, again]);
  await switchOver(two, 'orders-1', 'back to its own host');
  const after = await agreement([zero, two, again]);
  await page.waitForSelector('#leader-why >> text=back to its own host');
  await page.waitForSelector('#terms-rows [role="row"]:nth-child(4)');
  await page.waitForSelector('#leader-since >> text=/3\\.0 s/');
  await page.screenshot({ path: join(folder, 'status-page-light.png') });
  const narrow = await open(leader.url, true, 390, 844);
  await narrow.waitForSelector('#members [data-member="orders-1"][data-word="answers"]');
  after.leader.signal('SIGSTOP');
  await narrow.waitForSelector('#members [data-member="orders-1"][data-word="silent"]');
  await narrow.screenshot({ path: join(folder, 'status-page-dark.png') });
}

try {
  await take();
} finally {
  await browser.close();
  await stage.end();
}
