// The version of this program: a constant in the built file, read from package.json in a checkout.
import { createRequire } from 'node:module';

/** Put in by scripts/build.mjs; does not exist where the sources run as they are (tests). */
declare const __ELECTORD_VERSION__: string | undefined;

/** The version in package.json, such as `0.1.0`. */
export const version: string =
  typeof __ELECTORD_VERSION__ === 'string' ? __ELECTORD_VERSION__ : versionOfTheCheckout();

function versionOfTheCheckout(): string {
  const manifest: unknown = createRequire(import.meta.url)('../../package.json');
  const found = (manifest as { version?: unknown }).version;
  return typeof found === 'string' ? found : 'unknown';
}
