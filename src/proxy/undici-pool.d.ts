// The part of undici that is used, which brings a third of it along.
declare module 'undici/lib/dispatcher/pool.js' {
  export { Pool as default } from 'undici';
}
