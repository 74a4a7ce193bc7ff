// Bundles `electord/client`, the SDK, into one module that imports Node's own modules only. Fails when anything else would
// be needed.
import { join } from 'node:path';
import { build } from 'esbuild';
import { root, version } from '../prepare.mjs';

/**
 * @param {'esm' | 'cjs'} format for whoever imports it, or for whoever requires it
 * @param {string} outfile where to
 */
export async function bundleClient(format, outfile) {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [join(root, 'src/sdk/client.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format,
    charset: 'utf8',
    metafile: true,
    logLevel: 'warning',
    banner: { js: `// electord/client ${version}. Built by scripts/build.mjs; do not edit.` },
  });
  const [output] = Object.values(metafile.outputs);
  const inputs = Object.keys(output.inputs).filter((path) => !path.startsWith('src/'));
  const imports = output.imports
    .map(({ path }) => path)
    .filter((path) => !path.startsWith('node:'));
  const foreign = [...inputs, ...imports];
  if (foreign.length > 0) throw new Error(`the client would need ${foreign.join(', ')}`);
  return metafile;
}
