// Misfortunes that a test brings upon a running sidecar from outside of its program, by code that Node loads before it:
// what is shipped has no switch for them.

const preloading = (code: string): Readonly<Record<string, string>> => ({
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}`,
});

/** The environment of a process in which SIGUSR2 is an error that nobody catches. */
export const throwsAtSignal = preloading(
  `process.on('SIGUSR2', () => { throw new Error('thrown by the test'); });`,
);

/** The environment of a process in which SIGUSR2 uses up every file descriptor, and again SIGUSR2 gives them back. */
export const usesUpFilesAtSignal = preloading(`
  import { closeSync, openSync } from 'node:fs';
  const open = [];
  process.on('SIGUSR2', () => {
    if (open.length > 0) {
      for (const file of open.splice(0)) closeSync(file);
      return;
    }
    try {
      for (;;) open.push(openSync('/dev/null'));
    } catch {}
  });
`);
