// The small page that a browser gets under `/`: who leads, as text. It loads nothing and runs nothing.
import { createHash } from 'node:crypto';
import type { LeaderAnswer } from '../contract.ts';

const style =
  'body{font:16px/1.5 system-ui,sans-serif;margin:3rem auto;max-width:46rem;padding:0 1rem}' +
  'table{border-collapse:collapse}th,td{text-align:left;padding:.2rem 1.2rem .2rem 0}';

const styleHash = createHash('sha256').update(style).digest('base64');

/** Sent with the page: nothing but its own style is allowed. */
export const pageHeaders = {
  'Content-Security-Policy':
    `default-src 'none'; style-src 'sha256-${styleHash}'; ` +
    `base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'Referrer-Policy': 'no-referrer',
} as const;

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

const escaped = (text: string): string =>
  text.replaceAll(/[&<>"']/g, (character) => entities[character] ?? '');

function row({ election, leader, role }: LeaderAnswer): string {
  const cells = [
    election,
    leader?.id ?? 'nobody known',
    leader?.address ?? '',
    leader?.fencingToken ?? '',
    role,
  ];
  return `<tr>${cells.map((cell) => `<td>${escaped(cell)}</td>`).join('')}</tr>`;
}

/** A whole HTML document; everything from outside is escaped. */
export function page(id: string, answers: readonly LeaderAnswer[], version: string): string {
  const title = `electord ${escaped(id)}`;
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">' +
    '<meta name="viewport" content="width=device-width">' +
    `<title>${title}</title><style>${style}</style></head><body><h1>${title}</h1>` +
    '<table><thead><tr><th>Election</th><th>Leader</th><th>Address</th><th>Fencing token</th>' +
    `<th>This instance</th></tr></thead><tbody>${answers.map(row).join('')}</tbody></table>` +
    `<p>electord ${escaped(version)}</p></body></html>\n`
  );
}
