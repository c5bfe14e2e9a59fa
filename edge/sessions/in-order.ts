/** Work that overlaps, answered in the order in which it was begun. */
export class InOrder {
  #before: Promise<unknown> = Promise.resolve()

  run<T>(work: Promise<T>): Promise<T> {
    const inTurn = Promise.allSettled([this.#before, work]).then(() => work)
    this.#before = inTurn.catch(() => {})
    return inTurn
  }
}
