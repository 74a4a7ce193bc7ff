// The few things of the browser that the page uses, typed here: TypeScript's own library for browsers puts its names
// before every file of a program, and this program is mostly not for browsers.

export interface PageEvent {
  readonly key?: string;
  preventDefault(): void;
}

export interface StyleDeclaration {
  setProperty(name: string, value: string): void;
}

/** An element of HTML or SVG; what only some of them have is there on those. */
export interface PageElement {
  textContent: string | null;
  hidden: boolean;
  className: string;
  id: string;
  tabIndex: number;
  readonly dataset: Record<string, string | undefined>;
  readonly style: StyleDeclaration;
  readonly clientWidth: number;
  readonly isConnected: boolean;
  readonly parentElement: PageElement | null;
  readonly children: ArrayLike<PageElement>;
  append(...nodes: (PageElement | string)[]): void;
  replaceChildren(...nodes: (PageElement | string)[]): void;
  insertBefore(node: PageElement, before: PageElement | null): void;
  remove(): void;
  contains(other: PageElement | null): boolean;
  setAttribute(name: string, value: string): void;
  removeAttribute(name: string): void;
  getAttribute(name: string): string | null;
  toggleAttribute(name: string, force: boolean): void;
  addEventListener(name: string, listener: (event: PageEvent) => void): void;
  focus(): void;
}

export interface PageField extends PageElement {
  value: string;
  disabled: boolean;
  checked: boolean;
}

export interface PageDialog extends PageElement {
  readonly open: boolean;
  showModal(): void;
  close(): void;
}

interface PageDocument {
  title: string;
  readonly hidden: boolean;
  readonly activeElement: PageElement | null;
  readonly body: PageElement;
  getElementById(id: string): PageElement | null;
  createElement(name: 'dialog'): PageDialog;
  createElement(name: 'input' | 'select' | 'button'): PageField;
  createElement(name: string): PageElement;
  createElementNS(namespace: string, name: string): PageElement;
  addEventListener(name: string, listener: (event: PageEvent) => void): void;
}

interface PageWindow {
  readonly location: { hash: string; readonly pathname: string };
  addEventListener(name: string, listener: (event: PageEvent) => void): void;
  requestAnimationFrame(run: () => void): void;
}

export interface MessageStream {
  readonly readyState: number;
  onerror: (() => void) | null;
  addEventListener(name: string, listener: (event: { readonly data: string }) => void): void;
  close(): void;
}

/** One end of a line between a window and a worker. */
export interface MessageLine {
  onmessage: ((message: { readonly data: unknown }) => void) | null;
  postMessage(message: unknown): void;
}

interface WindowWorker {
  readonly port: MessageLine;
  /** It could not be loaded. */
  onerror: (() => void) | null;
}

interface Policies {
  createPolicy(
    name: string,
    rules: { readonly createScriptURL: (url: string) => string },
  ): { createScriptURL(url: string): unknown };
}

/** The worker, from within. */
interface WorkerScope {
  readonly location: { readonly pathname: string };
  addEventListener(
    name: 'connect',
    listener: (event: { readonly ports: readonly unknown[] }) => void,
  ): void;
}

interface Browser {
  readonly document: PageDocument;
  readonly window: PageWindow;
  readonly EventSource: new (url: string) => MessageStream;
  /** Not every browser has it. */
  readonly SharedWorker?: new (url: unknown, name: string) => WindowWorker;
  readonly trustedTypes?: Policies;
}

export const {
  document,
  window,
  EventSource,
  SharedWorker,
  trustedTypes: policies,
} = globalThis as unknown as Browser;
export const scope = globalThis as unknown as WorkerScope;
