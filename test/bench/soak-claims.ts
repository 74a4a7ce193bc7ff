// Whether there were ever two leaders, by what they claim.

/** Terms as they were claimed; the errors that "never two leaders" knows. */
export class Claims {
  /** The newest term that was seen, and on which port. */
  newest = 0;
  terms = 0;
  longestLeaderlessMs = 0;
  #port = 0;
  #claimedAt = performance.now();

  /**
   * Somebody said that it leads for the term of this fencing token, just now.
   *
   * @param port who said it
   * @param sentAfter the newest term that had been seen when it was asked
   * @returns the error in words, or null
   */
  take(token: number, port: number, sentAfter: number): string | null {
    const now = performance.now();
    this.longestLeaderlessMs = Math.max(this.longestLeaderlessMs, now - this.#claimedAt);
    this.#claimedAt = now;
    if (token > this.newest) {
      [this.newest, this.#port] = [token, port];
      this.terms += 1;
    }
    if (token < sentAfter) return 'an older term was claimed after a newer one was seen';
    return token === this.newest && port !== this.#port ? 'two claimed one term' : null;
  }
}
