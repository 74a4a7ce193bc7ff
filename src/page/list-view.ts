// The list of many elections: worst first, with a search. A row is made once and changed only where its election has;
// beyond a first hundred rows are made only when somebody asks for them.
import { document, type PageElement, type PageField } from './browser.ts';
import { arrange, make, part, setData, setHidden, setText } from './dom.ts';
import type { Knowledge } from './knowledge.ts';
import { concernOf, leaderWords, matches, worstFirst, type Standing } from './ranking.ts';
import { count } from './words.ts';

interface Row {
  readonly item: PageElement;
  readonly link: PageElement;
  readonly name: PageElement;
  readonly leader: PageElement;
  readonly badge: PageElement;
}

const rowsAtFirst = 100;

export const hrefOf = (election: string): string => `#/${encodeURIComponent(election)}`;

function newRow(election: string): Row {
  const [name, leader, badge] = [make('strong', {}, election), make('span'), make('em')];
  const link = make('a', { href: hrefOf(election) }, name, ' ', badge, ' ', leader);
  return { item: make('li', {}, link), link, name, leader, badge };
}

export class ListView {
  readonly #knowledge: Knowledge;
  readonly #rows = new Map<string, Row>();
  #shown = rowsAtFirst;
  #search = '';
  /** What is in the list now. */
  #listed: readonly string[] = [];

  constructor(knowledge: Knowledge, changed: () => void) {
    this.#knowledge = knowledge;
    const search = part('search') as PageField;
    search.addEventListener('input', () => {
      this.#search = search.value;
      this.#shown = rowsAtFirst;
      changed();
    });
    part('elections-more').addEventListener('click', () => {
      this.#shown += rowsAtFirst * 5;
      changed();
    });
  }

  draw(selected: string | null): void {
    const { standings } = this.#knowledge;
    const nowMs = this.#knowledge.wallNow();
    const all = [...standings.values()];
    const found = worstFirst(
      all.filter((standing) => matches(standing, this.#search, nowMs)),
      nowMs,
    );
    const list = part('elections-list');
    // Nothing moves under the fingers of somebody who walks through the list.
    const shown = list.contains(document.activeElement)
      ? this.#listed.map((name) => standings.get(name)).filter((each) => each !== undefined)
      : found.slice(0, this.#shown);
    this.#listed = shown.map(({ election }) => election);
    for (const name of this.#rows.keys()) if (!standings.has(name)) this.#rows.delete(name);
    arrange(
      list,
      shown.map((standing) => this.#row(standing, selected, nowMs)),
    );
    const bad = all.filter((standing) => concernOf(standing, nowMs).tone === 'bad').length;
    const warn = all.filter((standing) => concernOf(standing, nowMs).tone === 'warn').length;
    const state = `${bad} in trouble, ${warn} to watch`;
    const hits = found.length === all.length ? '' : ` ${count(found.length, 'match', 'matches')}.`;
    setText(part('elections-summary'), `${count(all.length, 'election')}: ${state}.${hits}`);
    setData(part('elections-summary'), 'tone', bad > 0 ? 'bad' : null);
    setHidden(part('elections-more'), found.length <= shown.length);
    setText(part('elections-more'), `Show more of ${count(found.length, 'election')}`);
  }

  #row(standing: Standing, selected: string | null, nowMs: number): PageElement {
    const { election } = standing;
    const row = this.#rows.get(election) ?? newRow(election);
    this.#rows.set(election, row);
    const { tone, label } = concernOf(standing, nowMs);
    setText(row.leader, leaderWords(standing));
    setText(row.badge, label);
    setData(row.badge, 'tone', tone);
    if (election === selected) row.link.setAttribute('aria-current', 'page');
    else row.link.removeAttribute('aria-current');
    return row.item;
  }
}
