// Two versions in one election, as during every upgrade and every way back: today's program and one whose records in etcd
// all have a later format, more fields and a cause that today's does not know. Every successor waits for an hour after an
// end that it cannot see to be clean: so each hand-over here shows that one version read the other's record.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { projectFolder } from '../harness/binaries.ts';
import type { Answer, GetOptions, LeaderAnswer, Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { Probe, staleClaims, type Observation } from './claims.ts';
import { buildNextVersion, nextCause, nextFormat } from './next-version.ts';
import type { PatchedVersion } from './patched-version.ts';
import { agreement, openStage, type Stage } from './stage.ts';

const today = join(projectFolder, 'dist', 'electord.js');
let stage: Stage;
let next: PatchedVersion;

beforeAll(async () => {
  [stage, next] = await Promise.all([openStage({ size: 1 }), buildNextVersion()]);
});
afterEach(() => stage.clear());
afterAll(() => Promise.all([stage.end(), next.remove()]));

interface Body {
  readonly seq: number;
  readonly replayed: boolean;
  readonly paused: boolean;
  readonly last: number;
  readonly entries: readonly {
    readonly seq: number;
    readonly by: string;
    readonly entry: unknown;
  }[];
}
interface Term {
  readonly fencingToken: string;
  readonly leader: string;
  readonly cause: string | null;
  readonly reason: string | null;
  readonly actor: string | null;
  readonly endDerived: boolean;
}

const ask = (
  sidecar: Sidecar,
  method: string,
  path: string,
  more: Omit<GetOptions, 'method'> = {},
): Promise<Answer<Body>> =>
  sidecar.get<Body>(path, { local: true, method, timeoutMs: 20_000, ...more });
const post = (
  sidecar: Sidecar,
  path: string,
  body: unknown,
  headers: GetOptions['headers'] = {},
): Promise<Answer<Body>> =>
  ask(sidecar, 'POST', path, {
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });

const termsOf = async (sidecar: Sidecar): Promise<readonly Term[]> =>
  (await sidecar.get<{ terms: readonly Term[] }>('/history')).body.terms;

/** The terms, newest first, once the one that leads now is recorded. */
const historyOf = (sidecar: Sidecar, token: string): Promise<readonly Term[]> =>
  eventually(
    async () => {
      const terms = await termsOf(sidecar);
      return terms[0]?.fencingToken === token && terms;
    },
    { withinMs: 20_000, what: 'the present term in the history' },
  );

type Version = 'today' | 'next';
const start = (election: string, id: string, version: Version): Promise<Sidecar> => {
  const program = version === 'today' ? today : next.program;
  return stage.sidecar({ election, id, program, args: ['--takeover-delay=1h'] });
};

/** Sidecars whose predecessor was seen to go in good order. */
async function opened(
  election: string,
  wanted: Readonly<Record<string, Version>>,
): Promise<readonly Sidecar[]> {
  const opener = await stage.sidecar({ election, id: 'opener' });
  await agreement([opener]);
  const sidecars: Sidecar[] = [];
  // One after the other, so that their places in the queue are known.
  for (const [id, version] of Object.entries(wanted)) {
    const sidecar = await start(election, id, version);
    sidecars.push(sidecar);
    await agreement([opener, ...sidecars]);
    await eventually(async () => (await placesOf(opener)).includes(id), {
      withinMs: 20_000,
      what: `${id} in the queue`,
    });
  }
  expect((await opener.stop()).code).toBe(0);
  await agreement(sidecars);
  return sidecars;
}

interface MemberSeen {
  readonly id: string;
  readonly version: string | null;
  readonly place: number | null;
  readonly healthy: boolean;
  readonly native: boolean;
}
const membersOf = async (sidecar: Sidecar): Promise<readonly MemberSeen[]> =>
  (await sidecar.get<{ members: readonly MemberSeen[] }>('/members')).body.members;

/** The ids of the candidates, the leader first. */
async function placesOf(sidecar: Sidecar): Promise<readonly string[]> {
  const queued = (await membersOf(sidecar)).filter(({ place }) => place !== null);
  return queued.toSorted((a, b) => a.place! - b.place!).map(({ id }) => id);
}

/** Everything that is written under an election from now on: its kind of record, and the format that it says it has. */
async function records(election: string): Promise<() => ReadonlySet<string>> {
  const root = `/electord/${election}/`;
  const { lines } = await stage.etcdctl(['watch', '--prefix', root, '-w', 'json']);
  const text = (base64: string): string => Buffer.from(base64, 'base64').toString('utf8');
  return () => {
    const answers = lines
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as { Events?: { kv: { key: string; value?: string } }[] });
    const puts = answers
      .flatMap(({ Events = [] }) => Events.map(({ kv }) => kv))
      .filter(({ value }) => value !== undefined);
    return new Set(
      puts.map(({ key, value = '' }) => {
        const kind = text(key)
          .slice(root.length)
          .replace(/^(candidates|members|terms|journal\/entries|journal\/keys)\/.*/, '$1');
        return `${kind} ${/^\{"v":(\d+),/.exec(text(value))?.[1] ?? 'of no format'}`;
      }),
    );
  };
}

test(
  'an upgrade of three, followers first and the leader last, and all the way back: two moves, nothing lost',
  { timeout: 180_000 },
  async () => {
    const election = 'rolling';
    let sidecars = await opened(election, { a: 'today', b: 'today', c: 'today' });
    const seen: Observation[] = [];
    let key = 0;
    for (const version of ['next', 'today'] as const) {
      const { leader, token } = await agreement(sidecars);
      const before = await historyOf(leader, token);
      const text = { headers: { 'content-type': 'text/plain' }, body: `before ${version}` };
      const written = await ask(leader, 'PUT', '/state/note', text);
      expect(written.status).toBe(200);
      key += 1;
      const use = { 'idempotency-key': `order-${key}` };
      const { seq } = (await post(leader, '/journal', { key }, use)).body;

      const leaderLast = sidecars.toSorted((a, b) => Number(a === leader) - Number(b === leader));
      for (const old of leaderLast) {
        const probe = new Probe(sidecars);
        expect((await old.stop()).code).toBe(0);
        const replaced = await start(election, old.id, version);
        sidecars = sidecars.map((each) => (each === old ? replaced : each));
        await agreement(sidecars);
        seen.push(...(await probe.end()));
      }

      const after = await agreement(sidecars);
      expect(after.leader.id).not.toBe(leader.id);
      // One move, told by the version that went and read by the one that came.
      const terms = await historyOf(after.leader, after.token);
      expect(terms.slice(1)).toMatchObject(
        before.map((term, index) =>
          index > 0 ? term : { leader: leader.id, cause: 'stopping', endDerived: false },
        ),
      );
      // State and journal go on where the other version ended.
      for (const sidecar of sidecars) {
        const read = await ask(sidecar, 'GET', '/state/note');
        expect(read).toMatchObject({ status: 200, text: `before ${version}` });
        expect(read.headers).toMatchObject({
          ...{ 'content-type': 'text/plain', etag: written.headers.etag },
          'x-electord-fencing-token': token,
        });
      }
      const match = { 'content-type': 'text/plain', 'if-match': written.headers.etag! };
      expect(
        await ask(after.leader, 'PUT', '/state/note', { headers: match, body: 'after' }),
      ).toMatchObject({ status: 200 });
      expect(await post(after.leader, '/journal', { key }, use)).toMatchObject({
        body: { seq, replayed: true },
      });
      expect(await post(after.leader, '/journal', { after: key })).toMatchObject({
        status: 201,
        body: { seq: seq + 1, replayed: false },
      });
    }
    const { leader } = await agreement(sidecars);
    const journal = (await ask(leader, 'GET', '/journal?after=0&limit=100')).body;
    expect(journal.last).toBe(4);
    expect(journal.entries.map(({ seq, entry }) => [seq, entry])).toEqual([
      [1, { key: 1 }],
      [2, { after: 1 }],
      [3, { key: 2 }],
      [4, { after: 2 }],
    ]);
    expect(new Set(journal.entries.map(({ by }) => by)).size).toBe(2);
    expect(seen.some(({ claims }) => claims !== null)).toBe(true);
    expect(staleClaims(seen)).toEqual([]);
  },
);

test(
  'side by side: whoever is asked hands over to the other, pauses, resumes and shows the same',
  { timeout: 180_000 },
  async () => {
    const election = 'mixed';
    const written = await records(election);
    const ids = { old: 'today', new: 'next', third: 'today' } as const;
    const [older, newer, third] = (await opened(election, ids)) as [Sidecar, Sidecar, Sidecar];
    const sidecars = [older, newer, third];
    const probe = new Probe(sidecars);

    const queueOfThree = (asked: Sidecar): Promise<unknown> =>
      eventually(async () => (await placesOf(asked)).length === 3, {
        withinMs: 20_000,
        what: `three in the queue, as ${asked.id} sees it`,
      });
    const handOverTo = async (successor: Sidecar): Promise<void> => {
      await queueOfThree(older);
      if ((await agreement(sidecars)).leader === successor) return;
      expect((await post(older, '/switchover', { to: successor.id })).status).toBe(200);
      await agreement(sidecars);
    };

    // What is not in the queue is read once in a round.
    for (const asked of sidecars) {
      const members = await eventually(
        async () => {
          const seen = await membersOf(asked);
          return seen.length === 3 && seen.every(({ version }) => version !== null) && seen;
        },
        { withinMs: 20_000, what: `three members, as ${asked.id} sees them` },
      );
      for (const { id, version, healthy, native } of members) {
        expect({ healthy, native }).toEqual({ healthy: true, native: true });
        expect(version, id).toMatch(id === 'new' ? /^\d.*-next$/ : /^\d[\d.]*$/);
      }
    }

    // To either version, asked of either, past one of either that stands between.
    for (const [asked, to] of [
      [older, newer],
      [older, third],
      [newer, older],
      [newer, newer],
      [third, third],
    ] as const) {
      const { leader } = await agreement(sidecars);
      const reason = `${leader.id} to ${to.id}, asked of ${asked.id}`;
      const answer = await post(asked, '/switchover', { to: to.id, reason });
      expect(answer, reason).toMatchObject({ status: 200, body: { leader: { id: to.id } } });
      const now = await agreement(sidecars);
      expect(now.leader, reason).toBe(to);
      const terms = await historyOf(asked, now.token);
      expect(terms[1]).toMatchObject({ leader: leader.id, cause: 'switchover', reason });
      // Those that were passed over stand in the queue again.
      await queueOfThree(asked);
    }

    for (const [pauses, resumes] of [
      [older, newer],
      [newer, older],
    ] as const) {
      const reason = `by ${pauses.id}`;
      expect((await post(pauses, '/pause', { reason, for: '10m' })).status).toBe(200);
      for (const sidecar of sidecars) {
        await eventually(
          async () => {
            const { body } = await sidecar.get<{ control: { reason: string } | null }>('/status');
            return body.control?.reason === reason;
          },
          { withinMs: 20_000, what: `${sidecar.id} to know of the pause ${reason}` },
        );
      }
      expect(await post(resumes, '/resume', {})).toMatchObject({ body: { paused: false } });
      await queueOfThree(pauses);
    }

    // A cause of tomorrow: told by name by those who know it, as unknown by the others, who take over all the same.
    await handOverTo(newer);
    const stepped = await post(newer, '/step-down', { reason: 'to see', notFor: '2s' });
    expect(stepped.status).toBe(200);
    const { leader, token } = await agreement(sidecars);
    expect(leader).not.toBe(newer);
    const ended = { leader: 'new', reason: 'to see', actor: 'operator via new', endDerived: false };
    expect((await historyOf(newer, token))[1]).toMatchObject({ ...ended, cause: nextCause });
    expect((await historyOf(older, token))[1]).toMatchObject({ ...ended, cause: 'unknown' });
    // A follower tells why the leader changed: neither a lapse nor an error, but no word that it does not know.
    const follower = leader === older ? third : older;
    await follower.waitForLog(
      (line) => line['cause'] === 'unknown' && line['previousLeader'] === 'new',
      20_000,
    );
    expect(staleClaims(await probe.end())).toEqual([]);

    // What people type, of one version, asked of a sidecar of the other.
    for (const [program, sidecar] of [
      [today, newer],
      [next.program, older],
    ] as const) {
      const say = async (command: string): Promise<string> =>
        (
          await promisify(execFile)(process.execPath, [
            program,
            command,
            `--url=${sidecar.localUrl}`,
          ])
        ).stdout;
      expect(await say('status')).toMatch(new RegExp(`^leader +${leader.id} since`, 'm'));
      expect(await say('history')).toMatch(
        new RegExp(`^\\d+ +new .* ${sidecar === newer ? nextCause : 'unknown'} +to see`, 'm'),
      );
    }

    // So the next version has a say in the store as well.
    for (const writer of [newer, older]) {
      await handOverTo(writer);
      const use = { 'idempotency-key': writer.id };
      expect((await post(writer, '/journal', { by: writer.id }, use)).status).toBe(201);
      const text = { headers: { 'content-type': 'text/plain' }, body: writer.id };
      expect((await ask(writer, 'PUT', '/state/who', text)).status).toBe(200);
    }
    // Nothing above was about records of one version only.
    const kinds = [
      ...['candidates', 'members', 'handover', 'terms', 'control', 'control/switchover'],
      ...['state/who#meta', 'journal/head', 'journal/entries', 'journal/keys'],
    ];
    const expected = kinds.flatMap((kind) => [`${kind} 1`, `${kind} ${nextFormat}`]);
    await eventually(() => expected.every((one) => written().has(one)), {
      withinMs: 20_000,
      what: `every kind of record in two formats; seen: ${[...written()].join(', ')}`,
    });
    const { body } = await older.get<LeaderAnswer>('/leader');
    expect(body.isLeader).toBe(true);
  },
);
