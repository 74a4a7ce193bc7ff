// How the built file runs its program, which stands in it as one line of comment: Node would compile all of it at each start,
// and V8 hardly looks at a comment. Where a code cache lies beside the file (code-cache.mjs), for just this program and just
// this V8, nothing is compiled but what the cache lacks. No such cache, one that cannot be read, another Node: all as if there
// were none.

/** What the line of the program begins with. */
export const mark = '\n//program ';

/**
 * Runs the program of the file at `path`. It stands in the built file as text, so it knows nothing but its arguments; and the
 * program keeps no function of it, nor with that the text of the whole file.
 *
 * @param compiled is handed the script, which a cache can be made of, and the bytes that it was compiled from
 */
export function launch(builtin, path, mark, compiled = () => undefined) {
  const { readFileSync } = builtin('node:fs');
  const { createHash } = builtin('node:crypto');
  const { Script } = builtin('node:vm');
  const bytes = readFileSync(path);
  const from = bytes.indexOf(mark) + mark.length;
  const program = bytes.subarray(from, bytes.indexOf('\n', from));

  /** What is beside the file: the digest of program and data, and the data. V8 itself would take what is cut or changed. */
  function cachedData() {
    try {
      const cache = readFileSync(path + '.cache');
      const data = cache.subarray(32);
      const digest = createHash('sha256').update(program).update(data).digest();
      return digest.equals(cache.subarray(0, 32)) ? data : undefined;
    } catch {
      return undefined;
    }
  }

  const script = new Script(program.latin1Slice(), {
    filename: path,
    lineOffset: bytes.latin1Slice(0, from).split('\n').length - 1,
    columnOffset: mark.length - 1,
    cachedData: cachedData(),
  });
  compiled(script, program);
  script.runInThisContext()(builtin, builtin('node:url').pathToFileURL(path).href);
}

/** The path of the file that calls this: a module of either kind, whatever it was started by. */
export function thisFile(builtin) {
  const { prepareStackTrace, stackTraceLimit } = Error;
  Error.prepareStackTrace = (_, [, caller]) => caller.getFileName();
  Error.stackTraceLimit = 2;
  const name = new Error().stack;
  Object.assign(Error, { prepareStackTrace, stackTraceLimit });
  return name.startsWith('file:') ? builtin('node:url').fileURLToPath(name) : name;
}
