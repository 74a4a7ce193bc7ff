// Where the sidecar is, as the browser sees it: beside the page, under whatever name and path a proxy has put both.
import { window } from './browser.ts';

/** The page is served under `/` only; a proxy may have left out the slash at the end of its own path. */
const folder = ((): string => {
  const { pathname } = window.location;
  return pathname.endsWith('/') ? pathname : `${pathname}/`;
})();

/** @param path without a slash at the beginning */
export const beside = (path: string): string => `${folder}${path}`;
