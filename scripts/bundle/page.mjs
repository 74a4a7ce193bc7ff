// Makes the parts of the status page out of src/page: its document, its style, and its two scripts, one with and one
// without the operator's verbs, and the worker that all windows of a browser share. Each is a text that goes into the built program; from the sources, as tests run them,
// src/http/page.ts asks here.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Browsers that have `<dialog>`, `structuredClone` and CSS nesting: all of 2024. */
const target = ['chrome120', 'firefox121', 'safari17.2'];

function bundled(entry, format = 'esm') {
  const { outputFiles } = buildSync({
    absWorkingDir: root,
    entryPoints: [join(root, 'src/page', entry)],
    bundle: true,
    write: false,
    minify: true,
    format,
    target,
    charset: 'utf8',
    logLevel: 'warning',
  });
  return outputFiles[0].text.trim();
}

/** `{ html, style, publicScript, localScript, worker }`, all texts. */
export function pageParts() {
  return {
    html: readFileSync(join(root, 'src/page/page.html'), 'utf8'),
    style: bundled('page.css'),
    publicScript: bundled('public.ts'),
    localScript: bundled('local.ts'),
    worker: bundled('worker.ts', 'iife'),
  };
}
