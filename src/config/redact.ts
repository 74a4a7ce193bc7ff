// Cuts out of an address or a command what may be a credential before it is shown in a fault, a log line
// or /status. It errs on the side of hiding too much.

import { hidden } from './secret.ts';

const longestShown = 200;

/**
 * Hides the query and the fragment of an address, or of a comma list of them; and all but the scheme
 * where an @ is in it, since a password may hold any of the characters that else end one.
 */
export function withoutCredentials(text: string): string {
  if (text.startsWith('exec:')) return programOnly(text);
  const scheme = /^[A-Za-z][A-Za-z0-9+.-]{0,15}:\/\//.exec(text)?.[0] ?? '';
  return text.includes('@') ? `${scheme}${hidden}` : text.replace(/[?#].*$/s, '?…');
}

/** Like withoutCredentials, and hides the path too: a webhook's path often is its password. */
export function originOnly(text: string): string {
  if (text.startsWith('exec:')) return programOnly(text);
  return withoutCredentials(text).replace(/^([^/]*\/\/[^/?]*)\/.+$/s, '$1/…');
}

/** Keeps a value in a message to one screen line or two. */
export function shortened(text: string): string {
  return text.length <= longestShown ? text : `${text.slice(0, longestShown)}…`;
}

/** The arguments may hold a password, and so may a variable set in front of the program. */
function programOnly(text: string): string {
  const [, program = '', rest = ''] = /^exec:\s*(\S*)(.*)$/s.exec(text) ?? [];
  if (program.includes('=')) return 'exec:…';
  return rest.trim() === '' ? `exec:${program}` : `exec:${program} …`;
}
