// The picture of `npm start` at several sizes of the terminal: who leads, the latest change and the newest lines are on it
// whatever else fits, and nothing of them is cut.
import { describe, expect, it } from 'vitest';
import { beginning, picture, Screen, type View } from '../../src/dev/screen.ts';

const dead = (port: number) => ({
  url: `http://127.0.0.1:${port}`,
  pid: null,
  backInMs: 5949,
  death: 'SIGKILL',
});
const alive = (port: number) => ({
  url: `http://127.0.0.1:${port}`,
  pid: 4_194_304,
  backInMs: null,
  death: null,
});
const place = (index: number, role: string) => ({
  id: `demo-${index}`,
  role,
  sidecar: alive(40_400 + index),
  app: alive(48_080 + index),
});

/** As wide as it becomes: two dead processes of a place, the longest numbers. */
const view: View = {
  etcd: { ...alive(42_379), version: '3.5.30' },
  leader: {
    id: 'demo-1',
    since: new Date(2026, 10, 20, 21, 0, 3),
    ledForMs: 12_345,
    fencingToken: 1234n,
    claimLeftMs: 2100,
    before: { id: 'demo-0', gapMs: 281 },
  },
  leaderlessMs: 0,
  places: [
    { id: 'demo-0', role: 'silent', sidecar: dead(40_400), app: dead(48_080) },
    place(1, 'leader'),
    place(2, 'follower'),
  ],
  history: [
    ...Array.from({ length: 30 }, (_, at) => `20:00:${at + 10}  demo-2's app is back (pid 17)`),
    "21:00:02  demo-0's sidecar (pid 4194304) died: SIGKILL",
    '21:00:03  demo-1 leads, fencing token 1234; nobody led for at most 281 ms after demo-0',
  ],
};

/** Without the blanks at which a line was ended. */
const joined = (lines: readonly string[]): string => lines.join(' ').replace(/\s+/g, ' ');

describe.each([
  [24, 80],
  [40, 120],
  [15, 60],
])('on %i lines of %i columns', (rows, columns) => {
  const lines = picture(view, rows, columns);
  const text = joined(lines);

  it('fits, with the last row and column free', () => {
    expect(lines.length).toBeLessThanOrEqual(rows - 1);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns - 1);
  });

  it('says who leads, since when, and what the latest change cost', () => {
    expect(text).toContain('demo-1 LEADS since 21:00:03 (12.3 s), fencing token 1234, claim 2.1 s');
    expect(text).toContain('demo-0 led before; nobody for at most 281 ms between');
  });

  it('ends with what happened last', () => {
    const newest = view.history.slice(-2).join(' ').replace(/\s+/g, ' ');
    expect(text.endsWith(newest)).toBe(true);
  });

  it('shows every process, and how to end it all', () => {
    const gone = columns < 80 ? 'DEAD 5.9 s' : 'DEAD, back in 5.9 s';
    expect(text).toContain(`demo-0 silent :40400 ${gone} :48080 ${gone}`);
    expect(text).toContain('> demo-1 leader :40401 pid 4194304 :48081 pid 4194304');
    expect(text).toContain('etcd 3.5.30 :42379 pid 4194304');
    expect(text).toContain('Ctrl-C ends it');
  });
});

it.each([
  [24, 80],
  [40, 120],
])('on %i lines of %i columns every hint is whole', (rows, columns) => {
  const text = joined(picture(view, rows, columns));
  for (const hint of [
    'Open http://127.0.0.1:40402/ in a browser: the same, live',
    'kill -9 4194304 # it dies; another leads after 250 ms of silence',
    'kill 4194304 # it is asked to stop, and hands over',
    'Whatever dies comes back after 6 s, etcd too',
    'curl -i http://127.0.0.1:40401/leader # 200: it leads',
    'curl -i http://127.0.0.1:40402/leader # 503: it follows',
    'curl -iL http://127.0.0.1:48082/orders -d tea # sent on to the leader',
  ]) {
    expect(text).toContain(hint);
  }
});

it('says for how long nobody has led, and that etcd is dead', () => {
  const etcd = { ...dead(42_379), version: '3.5.30' };
  const text = joined(picture({ ...view, etcd, leader: null, leaderlessMs: 1500 }, 24, 80));
  expect(text).toContain('NOBODY LEADS, for 1.5 s');
  expect(text).toContain('etcd 3.5.30 :42379 DEAD, back in 5.9 s');
  // Nobody is there to be killed: least of all process 0, which is whoever asks.
  expect(text).not.toContain('kill');
});

it('a line of any length is no more than two: the next are seen too', () => {
  const said = `21:00:04  demo-0's app (pid 5) died: exit code 1, ${'words '.repeat(200)}`;
  const lines = picture({ ...view, history: [said, ...view.history.slice(-2)] }, 30, 80);
  expect(lines.filter((line) => line.includes('words'))).toHaveLength(2);
});

it('before there are processes the newest lines of the start are shown', () => {
  const lines = beginning(view.history, 24, 80);
  expect(lines).toHaveLength(23);
  expect(joined(lines).endsWith('for at most 281 ms after demo-0')).toBe(true);
  expect(beginning(['looking for an etcd'], 24, 80)).toEqual([
    'electord dev is starting',
    '',
    'looking for an etcd',
  ]);
});

it('a screen too small for anything else has the leader, and gives the terminal back as it was', () => {
  let written = '';
  const output = Object.assign(Object.create(process.stdout) as typeof process.stdout, {
    write: (text: string) => {
      written += text;
      return true;
    },
  });
  Object.defineProperties(output, { columns: { value: 20 }, rows: { value: 5 } });
  const screen = new Screen(output);
  written = '';
  screen.show((rows, columns) => picture(view, rows, columns));
  const controls = new RegExp(`${String.fromCharCode(27)}\\[[0-9?]*[A-Za-z]`, 'g');
  const shown = written.replaceAll(controls, '').split('\r\n');
  expect(shown.length).toBeLessThanOrEqual(5);
  expect(Math.max(...shown.map((line) => line.length))).toBeLessThan(20);
  expect(shown[0]).toBe('demo-1 LEADS since');
  screen.close();
  expect(written.endsWith('\x1b[?25h\x1b[?1049l')).toBe(true);
});
