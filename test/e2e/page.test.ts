// The status page in a real Chromium, before real sidecars on a real etcd: that it shows what happens while it happens,
// says when it knows nothing, can be used by everybody, and that nothing out of etcd is ever more than text.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AxeResults } from 'axe-core';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { HistoryAnswer } from '../../src/contract.ts';
import { browserWithinMs, startChromium, type Browser } from '../harness/chromium.ts';
import { reservePort } from '../harness/ports.ts';
import { startRelay, type Relay } from '../harness/relay.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually, within } from '../harness/wait.ts';
import { agreement, openStage, type Stage } from './stage.ts';

/** Anything that a person would see at once, on a machine that stalls. */
const soonMs = 20_000;
/** What the page promises; a test asks that the best of a few keeps it, since any one may meet a stall. */
const promisedMs = 500;
const attempts = 5;
/** Long against a stall, short enough to wait for a failover. */
const ttl = '--ttl=5s';

let stage: Stage;
let browser: Browser;
const opened: { readonly page: Page; readonly complaints: string[] }[] = [];
const relays: Relay[] = [];

beforeAll(async () => {
  [stage, browser] = await Promise.all([openStage({ size: 1 }), startChromium()]);
}, browserWithinMs);

afterEach(async () => {
  await Promise.all(opened.splice(0).map(({ page }) => page.context().close()));
  await stage.clear();
  for (const relay of relays.splice(0)) relay.stop();
});

afterAll(async () => {
  await browser.close();
  await stage.end();
});

/** What a browser writes when a sidecar is gone, which is what some tests bring about. */
const isUnreachable = (text: string): boolean =>
  /net::ERR_(CONNECTION|EMPTY|INCOMPLETE)/.test(text);

async function open(url: string, options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.open({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(soonMs);
  const complaints: string[] = [];
  page.on('console', (message) => {
    const text = message.text();
    if (message.type() === 'error' && !isUnreachable(text)) complaints.push(text);
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('dialog', (dialog) => {
    complaints.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  opened.push({ page, complaints });
  await page.goto(url);
  return page;
}

/** Errors of scripts, violations of the policy, and everything else that the browser complained of. */
const complaintsOf = (page: Page): readonly string[] =>
  opened.find((one) => one.page === page)?.complaints ?? ['not opened'];

const text = async (page: Page, selector: string): Promise<string> =>
  (await page.locator(selector).textContent()) ?? '';

async function shows(page: Page, selector: string, wanted: RegExp | string): Promise<void> {
  const what = `${selector} with ${String(wanted)}`;
  const found = async (): Promise<boolean> => {
    const texts = await page.locator(selector).allTextContents();
    return texts.some((one) => (typeof wanted === 'string' ? one === wanted : wanted.test(one)));
  };
  await eventually(found, { withinMs: soonMs, what });
}

const row = (id: string): string => `#members [data-member="${id}"]`;

const found = (selector: string): string => `document.querySelector(${JSON.stringify(selector)})`;

/** Milliseconds from `act` until the condition, an expression of the page, holds on it. */
async function seenAfter(page: Page, condition: string, act: () => void): Promise<number> {
  const look = `if (${condition}) { clearInterval(timer); seen(Date.now()); }`;
  const script = `new Promise((seen) => { const timer = setInterval(() => { ${look} }, 4); })`;
  const seen: Promise<unknown> = page.evaluate(script);
  // The browser takes up what it is sent in order: once this is answered, it watches.
  await page.evaluate('0');
  const at = Date.now();
  act();
  return Number(await within(seen, { withinMs: soonMs, what: condition })) - at;
}

/** The best of a few; between two, `undo` and wait until the page shows that all is well. */
async function bestOf(once: () => Promise<number>, undo: () => Promise<void>): Promise<number> {
  const times: number[] = [];
  while (times.length < attempts) {
    times.push(await once());
    await undo();
  }
  return Math.min(...times);
}

/** One sidecar more, on ports that it can be started on again. */
async function pinned(election: string, id: string): Promise<() => Promise<Sidecar>> {
  const [port, local] = [await reservePort(), await reservePort()];
  const args = [`--listen=127.0.0.1:${port}`, `--local-listen=127.0.0.1:${local}`, ttl];
  return async () => {
    const sidecar = await stage.sidecar({ election, id, args });
    return { ...sidecar, url: `http://127.0.0.1:${port}`, localUrl: `http://127.0.0.1:${local}` };
  };
}

const three = (election: string): Promise<readonly Sidecar[]> =>
  stage.three({ election, args: [ttl] });

test('shows a leader that was killed, and its successor, while it happens', async () => {
  const { leader, others } = await agreement(await three('failover'));
  const page = await open(others[0]!.url);
  await shows(page, '#leader-id', leader.id);
  await shows(page, '#fresh-text', 'live');
  await shows(page, `${row(leader.id)} [data-tone="ok"]`, 'answers');
  await page.waitForSelector('#lease[data-tone="ok"]');

  const silent = `${row(leader.id)}[data-word="silent"]`;
  const seenMs = await seenAfter(page, found(silent), () => leader.signal('SIGKILL'));
  expect(seenMs).toBeLessThan(soonMs);
  await shows(
    page,
    '#alarms li',
    new RegExp(`^${leader.id} is leader in etcd but does not answer`),
  );
  const after = await agreement(others);
  await shows(page, '#leader-id', after.leader.id);
  await shows(page, '#leader-why', new RegExp(`^Because ${leader.id} vanished: its lease ran out`));
  await shows(page, '#terms-rows [role="row"]', new RegExp(`^${leader.id}.*vanished`));
  await shows(page, '#seen-list li', new RegExp(`${leader.id} fell silent`));
  await shows(page, '#seen-list li', new RegExp(`${after.leader.id} leads`));
  expect(await page.locator('#timeline svg .unplanned').count()).toBeGreaterThan(0);
  await page.waitForSelector(row(leader.id), { state: 'detached' });
  expect(complaintsOf(page)).toEqual([]);
});

test('shows within half a second that a member is paused or cut off, and that it is back', async () => {
  const election = 'silences';
  const port = await reservePort();
  const relay = await startRelay({ target: `http://127.0.0.1:${port}` });
  relays.push(relay);
  const [first, second] = await Promise.all([
    stage.sidecar({ election, id: 'a', args: [ttl] }),
    stage.sidecar({ election, id: 'b', args: [ttl] }),
  ]);
  await agreement([first, second]);
  const args = [ttl, `--listen=127.0.0.1:${port}`, `--url=${relay.url}`];
  await stage.sidecar({ election, id: 'c', args });
  const page = await open(first.url);
  const shown = (id: string, word: string): string => `${row(id)}[data-word="${word}"]`;
  await page.waitForSelector(shown('b', 'answers'));
  await page.waitForSelector(shown('c', 'answers'));

  const isSilent = (id: string): string => found(shown(id, 'silent'));
  const pausedMs = await bestOf(
    () => seenAfter(page, isSilent('b'), () => second.signal('SIGSTOP')),
    async () => {
      second.signal('SIGCONT');
      await page.waitForSelector(shown('b', 'answers'));
    },
  );
  expect(pausedMs).toBeLessThan(promisedMs);
  const cutMs = await bestOf(
    () => seenAfter(page, isSilent('c'), () => relay.cut()),
    async () => {
      await relay.heal();
      await page.waitForSelector(shown('c', 'answers'));
    },
  );
  expect(cutMs).toBeLessThan(promisedMs);
  await shows(page, '#seen-list li', /b answers again/);
  expect(complaintsOf(page)).toEqual([]);
});

test('says that it is out of date, and recovers by itself', async () => {
  const start = await pinned('stale', 'a');
  let sidecar = await start();
  await stage.sidecar({ election: 'stale', id: 'b', args: [ttl] });
  const listens = async (): Promise<boolean> => (await fetch(`${sidecar.url}/livez`)).ok;
  await eventually(listens, { withinMs: soonMs, what: 'a sidecar that listens' });
  const page = await open(sidecar.url);
  await shows(page, '#fresh-text', 'live');
  expect(await page.locator('#stale').isVisible()).toBe(false);

  const quiet = `${found('#fresh')}.dataset.level !== 'live'`;
  const quietMs = await bestOf(
    () => seenAfter(page, quiet, () => sidecar.signal('SIGSTOP')),
    async () => {
      await page.waitForSelector('#stale', { state: 'visible' });
      await shows(page, '#stale', /This page is out of date[^]*Last word .* ago\./);
      await shows(page, '#leader-verb', /^led when last heard of$|^$/);
      sidecar.signal('SIGCONT');
      await page.waitForSelector('#stale', { state: 'hidden' });
      await shows(page, '#fresh-text', 'live');
    },
  );
  expect(quietMs).toBeLessThan(promisedMs);

  sidecar.signal('SIGKILL');
  await sidecar.exited;
  await page.waitForSelector('#stale', { state: 'visible' });
  sidecar = await start();
  await page.waitForSelector('#stale', { state: 'hidden' });
  await shows(page, '#fresh-text', 'live');
  await page.waitForSelector(`${row('a')}[data-word="self"]`);
  expect(complaintsOf(page)).toEqual([]);
});

async function carryOut(page: Page, verb: string, reason: string | null): Promise<string> {
  await page.click(`[data-verb="${verb}"]`);
  if (reason !== null) await page.fill('#verb-reason', reason);
  await page.click('dialog .go');
  await shows(page, 'dialog .outcome', /\.$/);
  await page.waitForSelector('dialog .outcome[data-tone]');
  const outcome = await text(page, 'dialog .outcome');
  await page.keyboard.press('Escape');
  await page.waitForSelector('dialog', { state: 'detached' });
  return outcome;
}

const reasons = async (sidecar: Sidecar): Promise<readonly (string | null)[]> =>
  (await sidecar.get<HistoryAnswer>('/history')).body.terms.map(({ reason }) => reason);

test('carries out the verbs on the local listener, with a reason, and has none on the public one', async () => {
  const { leader, others } = await agreement(await three('verbs'));
  const [other] = others;
  const page = await open(other!.localUrl);
  await page.waitForSelector('[data-verb="switchover"]');
  expect(await page.locator('[data-verb="step-down"]').isVisible()).toBe(false);
  await page.click('[data-verb="switchover"]');
  await page.selectOption('#verb-choice', other!.id);
  await page.click('dialog .go');
  expect(await page.locator('dialog .outcome').textContent(), 'without a reason').toBe('');
  await page.keyboard.press('Escape');
  expect(await page.evaluate(`document.activeElement.dataset.verb`)).toBe('switchover');

  await page.click('[data-verb="switchover"]');
  await page.selectOption('#verb-choice', other!.id);
  await page.fill('#verb-reason', 'a <b>bold</b> move');
  await page.keyboard.press('Enter');
  await shows(page, 'dialog .outcome', new RegExp(`^${leader.id} handed over to ${other!.id}`));
  await page.keyboard.press('Escape');
  await shows(page, '#leader-id', other!.id);
  await shows(page, '#leader-why', /“a <b>bold<\/b> move”/);
  expect(await reasons(other!)).toContain('a <b>bold</b> move');

  expect(await carryOut(page, 'pause', 'nobody moves')).toMatch(/^Nobody campaigns until/);
  await shows(page, '#alarms li', /^Paused by .*“nobody moves”/);
  expect(await carryOut(page, 'resume', null)).toMatch(/^The election is not paused/);
  await page.waitForSelector('[data-verb="step-down"]');
  expect(await carryOut(page, 'step-down', 'going home')).toMatch(/stepped down/);
  await eventually(async () => (await reasons(other!)).includes('going home'), {
    withinMs: soonMs,
    what: 'the reason in the history',
  });
  expect(complaintsOf(page)).toEqual([]);

  const shown = await open(other!.url);
  await shows(shown, '#fresh-text', 'live');
  expect(await shown.locator('[data-verb], dialog, form').count()).toBe(0);
  expect(/verb-reason|Authorization|Switch over/.test(await shown.content())).toBe(false);
});

test('asks for the token that a sidecar demands, and tells errors in words', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'electord-page-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'token');
  writeFileSync(file, 'open-sesame\n');
  const args = [ttl, `--token-file=${file}`];
  const sidecar = await stage.sidecar({ election: 'token', id: 'a', args });
  await sidecar.waitFor(({ isLeader }) => isLeader, soonMs);
  const page = await open(sidecar.localUrl);
  await page.click('[data-verb="pause"]');
  await page.fill('#verb-reason', 'to see');
  expect(await page.locator('#verb-token').isVisible()).toBe(false);
  await page.click('dialog .go');
  await shows(page, 'dialog .outcome', /^A bearer token is required: /);
  await page.fill('#verb-token', 'wrong');
  await page.click('dialog .go');
  await shows(page, 'dialog .outcome', /the bearer token is wrong/);
  await page.fill('#verb-token', 'open-sesame');
  await page.click('dialog .go');
  await shows(page, 'dialog .outcome', /^Nobody campaigns until/);
  await page.keyboard.press('Escape');
  // It is kept for the page, and nowhere else.
  await page.waitForSelector('[data-verb="resume"]');
  expect(await carryOut(page, 'resume', null)).toMatch(/^The election is not paused/);
  expect(await page.evaluate('localStorage.length + sessionStorage.length')).toBe(0);
  expect(await page.evaluate('document.cookie')).toBe('');
  expect(complaintsOf(page).filter((one) => !one.includes('401'))).toEqual([]);
});

test('shows what others wrote into etcd as text, whatever it is', async () => {
  const hostile = `<img src=x onerror=alert(1)>"'&`;
  const sidecar = await stage.sidecar({ election: 'hostile', id: 'a', args: [ttl] });
  const { token } = await agreement([sidecar]);
  const local = sidecar.get('/pause', {
    method: 'POST',
    local: true,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ reason: hostile, for: '2m' }),
  });
  expect((await local).status).toBe(200);
  await stage.etcdctl(['elect', '/electord/hostile/candidates', hostile]);
  const page = await open(sidecar.url);
  await shows(page, '#alarms li', new RegExp('<img src=x onerror=alert\\(1\\)>'));
  await shows(page, '#members strong', hostile);
  await shows(page, '#members small', /candidate of another program/);
  expect(await page.locator('img').count()).toBe(0);
  expect(token).not.toBe('');
  expect(complaintsOf(page)).toEqual([]);
});

test('is quick with a thousand elections: worst first, a search, a link to each', async () => {
  const election = 'shop-{0..999}';
  const sidecar = await stage.sidecar({ election, id: 'a', args: ['--ttl=30s'] });
  await eventually(
    async () => {
      const { body } = await sidecar.get<{ elections: { isLeader: boolean }[] }>('/elections');
      return body.elections.length === 1000 && body.elections.every(({ isLeader }) => isLeader);
    },
    { withinMs: 120_000, what: 'a thousand elections that are led' },
  );
  const page = await open(sidecar.localUrl);
  await shows(page, '#elections-summary', /^1,000 elections: 0 in trouble/);
  expect(await page.locator('#elections-list li').count()).toBe(100);

  const asked = { method: 'POST', local: true, timeoutMs: soonMs } as const;
  expect((await sidecar.get('/elections/shop-777/pause', asked)).status).toBe(200);
  await shows(page, '#elections-list li:first-child', /shop-777.*paused/);

  const one = `${found('#elections-list')}.children.length === 1`;
  const searchMs = await seenAfter(page, one, () => void page.fill('#search', 'shop-421'));
  expect(searchMs).toBeLessThan(soonMs);
  await page.click('#elections-list a');
  await shows(page, '#name', 'shop-421');
  await page.waitForSelector(`${row('a')}[data-word="self"]`);
  expect(page.url()).toMatch(/#\/shop-421$/);
  await page.focus('.skip');
  await page.keyboard.press('Enter');
  await page.waitForURL(/#main$/);
  await shows(page, '#name', 'shop-421');
  expect(await page.locator('#details').isVisible()).toBe(true);

  const linked = await open(`${sidecar.url}/#/shop-99`, { viewport: { width: 320, height: 700 } });
  await shows(linked, '#name', 'shop-99');
  expect(await linked.locator('#elections').isVisible()).toBe(false);
  await linked.click('#back a');
  await linked.waitForSelector('#elections', { state: 'visible' });
  for (const each of [page, linked]) {
    expect(await faultsOf(each)).toEqual([]);
    expect(complaintsOf(each)).toEqual([]);
  }
}, 240_000);

const axeSource = readFileSync(
  createRequire(import.meta.url).resolve('axe-core/axe.min.js'),
  'utf8',
);

/** What axe-core finds wrong, each with the first place; and a page that is wider than its window. */
async function faultsOf(page: Page): Promise<readonly string[]> {
  await page.evaluate(axeSource);
  const results = await page.evaluate<AxeResults>('axe.run()');
  const violations = results.violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ''}`);
  const wide = await page.evaluate(
    'document.documentElement.scrollWidth > document.documentElement.clientWidth',
  );
  return wide === true ? [...violations, 'it scrolls sideways'] : violations;
}

test('can be used by everybody: light and dark, narrow and wide, by keyboard, without scripts', async () => {
  const { leader, others } = await agreement(await three('orders'));
  const [next] = others;
  const asked = { method: 'POST', local: true, headers: { 'content-type': 'application/json' } };
  const to = JSON.stringify({ to: next!.id, reason: 'kernel update' });
  expect((await leader.get('/switchover', { ...asked, body: to, timeoutMs: 15_000 })).status).toBe(
    200,
  );
  const sizes = [
    { width: 320, height: 700 },
    { width: 1280, height: 900 },
  ];
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const viewport of sizes) {
      const page = await open(leader.localUrl, { viewport, colorScheme });
      await shows(page, '#leader-id', next!.id);
      await page.waitForSelector('#terms-rows [role="row"]');
      expect(await faultsOf(page), `${colorScheme} ${viewport.width}`).toEqual([]);
      await page.click('[data-verb="pause"]');
      expect(await faultsOf(page), `dialog ${colorScheme} ${viewport.width}`).toEqual([]);
      await page.keyboard.press('Escape');
      expect(complaintsOf(page)).toEqual([]);
      await page.context().close();
    }
  }
  const page = await open(leader.localUrl, { reducedMotion: 'reduce' });
  await page.waitForSelector('[data-verb="pause"]');
  const reached: unknown[] = [];
  for (let presses = 0; presses < 8; presses += 1) {
    await page.keyboard.press('Tab');
    reached.push(await page.evaluate('document.activeElement.textContent'));
  }
  expect(reached).toEqual(
    expect.arrayContaining(['Skip to the election', 'Switch over…', 'Pause…']),
  );
  const plain = await open(leader.url, { javaScriptEnabled: false });
  await shows(plain, 'noscript td', next!.id);
  expect(complaintsOf(plain)).toEqual([]);
}, 120_000);
