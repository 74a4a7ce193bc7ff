// Why a change happened, as the announcer says it to logs, events, metrics and the page.
import { describe, expect, it } from 'vitest';
import { reportOf } from '../../src/core/report.ts';
import { Announcer } from '../../src/elector/announcer.ts';
import type { Notice } from '../../src/ports.ts';
import { candidate, change, handover, lease, mine, snapshot } from '../core/given.ts';
import { Story } from '../core/story.ts';

/** The causes announced along a story; `said` compares anew and gives all so far. */
function listening(story: Story): { said: (now: number) => readonly string[] } {
  const causes: string[] = [];
  const announcer = new Announcer(() => story.election);
  announcer.subscribe((notice: Notice) => {
    if (notice.kind === 'changed') causes.push(notice.cause);
  });
  const said = (now: number): readonly string[] => {
    announcer.compare(reportOf(story.election, story.ground, now));
    return causes;
  };
  return { said };
}

describe('a change is announced once, with its cause', () => {
  it('unknown while no leader has been seen, elected as soon as one is', () => {
    const story = new Story({ priority: -1 });
    const { said } = listening(story);
    expect(said(0)).toEqual(['unknown']);
    expect(said(1)).toEqual(['unknown']);
    story.lease(10, lease(4750)).observed(20, snapshot(5));
    expect(said(20)).toEqual(['unknown', 'unknown']);
    story.changed(30, change(6, { candidates: [candidate('a', 6)] }));
    expect(said(30)).toEqual(['unknown', 'unknown', 'elected']);
    expect(said(40)).toHaveLength(3);
  });

  it('that of the record which the old leader left, or lease_expired where it left none', () => {
    for (const [record, cause] of [
      [{ handover: handover('a', 3) }, handover('a', 3).cause],
      [{}, 'lease_expired'],
    ] as const) {
      const story = new Story({ priority: -1 }).lease(10, lease(4750));
      story.observed(20, snapshot(5, candidate('a', 3), candidate('b', 4)));
      const { said } = listening(story);
      said(20);
      story.changed(30, change(6, { removedCandidates: ['a'], ...record }));
      expect(said(30)).toEqual(['elected', cause]);
    }
  });

  it('that of a concession while the key of the old leader is there yet, and then elected', () => {
    const story = new Story({ priority: -1 }).lease(10, lease(4750));
    story.observed(20, snapshot(5, candidate('a', 3), candidate('b', 4)));
    const { said } = listening(story);
    said(20);
    const conceded = { cause: 'switchover', endedAgoMs: 10 } as const;
    story.changed(30, change(6, { candidates: [{ ...candidate('a', 3), conceded }] }));
    expect(said(30)).toEqual(['elected', 'switchover']);
    story.changed(40, change(7, { removedCandidates: ['a'], handover: handover('a', 3) }));
    expect(said(40)).toEqual(['elected', 'switchover', 'elected']);
  });

  it('elected where we lead, and etcd_unreachable where we no longer know', () => {
    const story = new Story().tick(0).lease(10, lease(4750));
    story.joined(20, 5, snapshot(5, mine(5)), 15);
    const { said } = listening(story);
    expect(said(20)).toEqual(['elected']);
    expect(said(60_000)).toEqual(['elected', 'etcd_unreachable']);
  });
});
