/** Work on one thing at a time, in the order in which it was asked for. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>()

  take<T>(key: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#last.get(key) ?? Promise.resolve()).then(work)
    const over: Promise<void> = turn.then(
      () => this.#end(key, over),
      () => this.#end(key, over),
    )
    this.#last.set(key, over)
    return turn
  }

  #end(key: string, over: Promise<void>): void {
    if (this.#last.get(key) === over) this.#last.delete(key)
  }
}

/** Work that overlaps, answered in the order in which it was begun. */
export class InOrder {
  #before: Promise<void> = Promise.resolve()

  /** `turn` resolves when all before it were answered; it never rejects. */
  run<T>(work: (turn: Promise<void>) => Promise<T>): Promise<T> {
    const turn = this.#before
    const done = work(turn)
    const inTurn = Promise.allSettled([turn, done]).then(() => done)
    this.#before = inTurn.then(ignore, ignore)
    return inTurn
  }
}

function ignore(): void {}
