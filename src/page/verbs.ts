// The operator's verbs, for the page of the local listener only: a dialog for each that says what will happen, asks for
// a reason, and tells the outcome in words. A token that the sidecar asks for is kept in memory, for as long as the page.
import type { Problem, VerbAnswer } from '../contract.ts';
import { beside } from './address.ts';
import { document, type PageDialog, type PageElement, type PageField } from './browser.ts';
import { make, part, setData, setHidden, setText } from './dom.ts';
import type { Details } from './knowledge.ts';
import type { VerbsContext } from './start.ts';

/** A verb ends when the hand-over does: the longest --grace (ten minutes) and the longest TTL behind it, and some more. */
const answeredWithinMs = 21 * 60_000;

interface Choice {
  readonly value: string;
  readonly text: string;
}

/** What one verb asks and does. */
interface Verb {
  readonly path: 'step-down' | 'switchover' | 'pause' | 'resume';
  readonly button: string;
  readonly title: string;
  readonly effect: (details: Details) => string;
  readonly wantsReason: boolean;
  /** A field besides the reason. */
  readonly field: { readonly name: string; readonly label: string } | null;
  /** Of the field. */
  readonly choices: (details: Details) => readonly Choice[];
  readonly offered: (details: Details) => boolean;
}

const pauses: readonly Choice[] = [
  { value: '2m', text: '2 minutes' },
  { value: '10m', text: '10 minutes' },
  { value: '30m', text: '30 minutes' },
  { value: '2h', text: '2 hours' },
  { value: '12h', text: '12 hours' },
];

const rests: readonly Choice[] = [
  { value: '0s', text: 'at once, behind the others' },
  { value: '30s', text: 'after 30 seconds' },
  { value: '10m', text: 'after 10 minutes' },
];

const isPaused = ({ status }: Details): boolean => (status?.value.control ?? null) !== null;

const successors = ({ members }: Details): readonly Choice[] =>
  (members?.value.members ?? [])
    .filter(({ role, native, healthy }) => role === 'candidate' && native && healthy)
    .map(({ id, place }) => ({ value: id, text: `${id} (place ${place ?? '?'})` }));

const verbs: readonly Verb[] = [
  {
    path: 'switchover',
    button: 'Switch over…',
    title: 'Switch over',
    effect: () =>
      'The leader stops acting and hands over to the member named. Nobody leads for a moment.',
    wantsReason: true,
    field: { name: 'to', label: 'New leader' },
    choices: successors,
    offered: (details) => !isPaused(details) && successors(details).length > 0,
  },
  {
    path: 'step-down',
    button: 'Step down…',
    title: 'Step down',
    effect: ({ status }) =>
      `${status?.value.id ?? 'This sidecar'} stops acting as leader, and whoever stands next leads.`,
    wantsReason: true,
    field: { name: 'notFor', label: 'Stand again' },
    choices: () => rests,
    offered: ({ status }) => status?.value.isLeader === true,
  },
  {
    path: 'pause',
    button: 'Pause…',
    title: 'Pause the election',
    effect: () =>
      'Nobody campaigns, and whoever leads goes on. If the leader dies meanwhile, nobody takes over.',
    wantsReason: true,
    field: { name: 'for', label: 'For' },
    choices: () => pauses,
    offered: (details) => details.status !== null && !isPaused(details),
  },
  {
    path: 'resume',
    button: 'Resume…',
    title: 'Resume the election',
    effect: () => 'The pause ends now: everybody who is able to campaigns.',
    wantsReason: false,
    field: null,
    choices: () => [],
    offered: isPaused,
  },
];

let token = '';

type Outcome =
  | { readonly kind: 'done'; readonly text: string }
  | { readonly kind: 'token'; readonly text: string }
  | { readonly kind: 'failed'; readonly text: string };

function problemText({ title, detail }: Problem): string {
  return detail === '' ? `${title}.` : `${title}: ${detail}.`;
}

async function carryOut(path: string, fields: Readonly<Record<string, string>>): Promise<Outcome> {
  let answer: Response;
  try {
    answer = await fetch(beside(path), {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        ...(token === '' ? {} : { Authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(fields),
      redirect: 'error',
      signal: AbortSignal.timeout(answeredWithinMs),
    });
  } catch {
    const text =
      'The sidecar gave no answer, so whether this was done is not known. Look at the page before you try again.';
    return { kind: 'failed', text };
  }
  const body: unknown = await answer.json().catch(() => null);
  if (answer.ok && body !== null) return { kind: 'done', text: (body as VerbAnswer).detail };
  const text =
    body === null ? `The sidecar answered ${answer.status}.` : problemText(body as Problem);
  return { kind: answer.status === 401 ? 'token' : 'failed', text };
}

const labelled = (text: string, id: string, field: PageElement): PageElement =>
  make('p', {}, make('label', { for: id }, text), field);

function newField(name: 'input' | 'select', id: string): PageField {
  const field = document.createElement(name);
  field.id = id;
  return field;
}

/** One dialog, made anew each time it is opened. */
class VerbDialog {
  readonly #verb: Verb;
  readonly #details: Details;
  readonly #refresh: () => void;
  readonly #dialog: PageDialog = document.createElement('dialog');
  readonly #reason = newField('input', 'verb-reason');
  readonly #choice = newField('select', 'verb-choice');
  readonly #token = newField('input', 'verb-token');
  readonly #tokenRow = labelled('Token of this sidecar', 'verb-token', this.#token);
  readonly #outcome = make('p', { role: 'status', class: 'outcome' });
  readonly #go = document.createElement('button');
  readonly #cancel = document.createElement('button');
  #busy = false;

  constructor(verb: Verb, details: Details, refresh: () => void) {
    this.#verb = verb;
    this.#details = details;
    this.#refresh = refresh;
  }

  open(): void {
    const { title, effect, field, choices, wantsReason } = this.#verb;
    const dialog = this.#dialog;
    dialog.setAttribute('aria-labelledby', 'verb-title');
    dialog.setAttribute('aria-describedby', 'verb-effect');
    this.#reason.setAttribute('required', '');
    this.#reason.setAttribute('maxlength', '500');
    this.#reason.setAttribute('autocomplete', 'off');
    this.#token.setAttribute('type', 'password');
    this.#token.setAttribute('autocomplete', 'off');
    this.#token.value = token;
    this.#tokenRow.hidden = true;
    for (const { value, text } of choices(this.#details)) {
      this.#choice.append(make('option', { value }, text));
    }
    this.#go.textContent = title;
    this.#go.className = 'go';
    this.#cancel.textContent = 'Cancel';
    this.#cancel.setAttribute('type', 'button');
    this.#cancel.addEventListener('click', () => this.#dialog.close());
    const form = make(
      'form',
      {},
      make('h2', { id: 'verb-title' }, `${title}: ${this.#details.election}`),
      make('p', { id: 'verb-effect' }, effect(this.#details)),
      field === null ? null : labelled(field.label, 'verb-choice', this.#choice),
      wantsReason ? labelled('Reason, for the history', 'verb-reason', this.#reason) : null,
      this.#tokenRow,
      this.#outcome,
      make('p', { class: 'bar' }, this.#cancel, this.#go),
    );
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#submit();
    });
    dialog.append(form);
    // What is under way cannot be called back: the dialog stays to tell how it went.
    dialog.addEventListener('cancel', (event) => {
      if (this.#busy) event.preventDefault();
    });
    dialog.addEventListener('close', () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    if (wantsReason) this.#reason.focus();
    else this.#go.focus();
  }

  async #submit(): Promise<void> {
    const { path, field, wantsReason } = this.#verb;
    if (this.#busy) return;
    this.#setBusy(true);
    this.#say('', 'Asked; waiting for the answer.');
    token = this.#token.value.trim();
    const { election } = this.#details;
    const outcome = await carryOut(`elections/${encodeURIComponent(election)}/${path}`, {
      ...(wantsReason ? { reason: this.#reason.value } : {}),
      ...(field === null ? {} : { [field.name]: this.#choice.value }),
    });
    this.#setBusy(false);
    this.#say(outcome.kind === 'done' ? 'ok' : 'bad', outcome.text);
    this.#refresh();
    if (outcome.kind === 'token') {
      setHidden(this.#tokenRow, false);
      this.#token.focus();
    }
    if (outcome.kind !== 'done') return;
    setHidden(this.#go, true);
    setText(this.#cancel, 'Close');
    this.#cancel.focus();
  }

  #setBusy(busy: boolean): void {
    this.#busy = busy;
    for (const field of [this.#go, this.#cancel, this.#reason, this.#choice, this.#token]) {
      field.disabled = busy;
    }
  }

  #say(tone: 'ok' | 'bad' | '', text: string): void {
    setData(this.#outcome, 'tone', tone === '' ? null : tone);
    setText(this.#outcome, text);
  }
}

/** Puts the buttons into the page; `draw` shows those that make sense now. */
export function installVerbs({ knowledge, refresh }: VerbsContext): { readonly draw: () => void } {
  const buttons = verbs.map((verb) => {
    const button = make('button', { type: 'button', 'data-verb': verb.path }, verb.button);
    button.addEventListener('click', () => {
      if (knowledge.details !== null) new VerbDialog(verb, knowledge.details, refresh).open();
    });
    return { verb, button };
  });
  const place = part('verbs');
  place.className = 'bar';
  place.setAttribute('role', 'group');
  place.setAttribute('aria-label', 'Operate this election');
  place.append(...buttons.map(({ button }) => button));
  return {
    draw: () => {
      const { details } = knowledge;
      let stranded = false;
      for (const { verb, button } of buttons) {
        const hidden = details === null || !verb.offered(details);
        if (hidden && document.activeElement === button) stranded = true;
        setHidden(button, hidden);
      }
      // Whoever has just paused stands on a button that is gone, and goes on at the next one.
      if (stranded) buttons.find(({ button }) => !button.hidden)?.button.focus();
    },
  };
}
