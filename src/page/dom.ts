// Making and changing elements. Text is only ever set as text, and only where it differs: what has not changed is left
// alone, for the browser's sake and for that of a screen reader.
import { document, type PageElement } from './browser.ts';

type Attributes = Readonly<Record<string, string | null>>;

export type Content = PageElement | string | null;

const present = (content: readonly Content[]): (PageElement | string)[] =>
  content.filter((one) => one !== null);

function dressed<Kind extends PageElement>(
  element: Kind,
  attributes: Attributes,
  content: readonly Content[],
): Kind {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) element.setAttribute(name, value);
  }
  element.append(...present(content));
  return element;
}

/** A new element of HTML. */
export const make = (
  name: string,
  attributes: Attributes = {},
  ...content: readonly Content[]
): PageElement => dressed(document.createElement(name), attributes, content);

/** A new element of SVG. */
export const draw = (
  name: string,
  attributes: Attributes = {},
  ...content: readonly Content[]
): PageElement =>
  dressed(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, content);

/** The element of the document with this id, which page.html has. */
export function part(id: string): PageElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
}

export function setText(element: PageElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A data attribute, which the style sheet goes by; null takes it away. */
export function setData(element: PageElement, name: string, value: string | null): void {
  if ((element.dataset[name] ?? null) === value) return;
  if (value === null) element.removeAttribute(`data-${name}`);
  else element.dataset[name] = value;
}

export function setHidden(element: PageElement, hidden: boolean): void {
  if (element.hidden !== hidden) element.hidden = hidden;
}

/** Puts these children in this order, moving only those that stand elsewhere. */
export function arrange(parent: PageElement, wanted: readonly PageElement[]): void {
  for (const [index, child] of wanted.entries()) {
    const there = parent.children[index] ?? null;
    if (there !== child) parent.insertBefore(child, there);
  }
  for (let index = parent.children.length - 1; index >= wanted.length; index -= 1) {
    parent.children[index]?.remove();
  }
}
