// The stories, told: each transcript is kept in transcripts/, to be read, and to be looked at when it changes.
import { describe, expect, it } from 'vitest';
import { scheduleOfStory, stories } from './stories.ts';
import { runSchedule } from './world.ts';

describe('stories', () => {
  it.each(stories)('$name', async (story) => {
    const schedule = scheduleOfStory(story);
    const { transcript, violation } = await runSchedule(schedule, { transcript: true });
    expect(violation).toBeNull();
    const file = `./transcripts/${story.name.replaceAll(' ', '-')}.txt`;
    await expect(`${transcript.join('\n')}\n`).toMatchFileSnapshot(file);
  });
});
