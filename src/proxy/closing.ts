// What is to be ended when a proxy closes: whatever goes on by itself. What begins while it closes ends at once.
export class Closing {
  readonly #ends = new Set<() => void>();
  #isClosing = false;

  add(end: () => void): void {
    if (this.#isClosing) end();
    else this.#ends.add(end);
  }

  delete(end: () => void): void {
    this.#ends.delete(end);
  }

  close(): void {
    this.#isClosing = true;
    for (const end of this.#ends) end();
  }
}
