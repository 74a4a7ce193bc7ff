// The words that arguments are chosen from: the command line knows them before it loads what a command does.

/** What can be waited for. */
export const awaitable = ['leader', 'follower', 'any', 'change'] as const;
export type Awaitable = (typeof awaitable)[number];

/** The shells that there is a completion for. */
export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/** What programs take for "finish, and go": it is their own choice. */
export const stopSignals = ['TERM', 'INT', 'QUIT', 'HUP', 'USR1', 'USR2', 'WINCH'].map(
  (name) => `SIG${name}`,
);
