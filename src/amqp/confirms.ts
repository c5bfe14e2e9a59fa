import { TidegateError } from '../errors.ts'

/** What became of a publish: a queue has it, no queue took it, or the broker refused it (a full queue does). */
export type FateKind = 'routed' | 'unroutable' | 'nacked'

export interface Fate<T> {
  item: T
  kind: FateKind
}

/**
 * The publishes of one channel in confirm mode that RabbitMQ has not answered yet, by delivery tag (G3, G5).
 *
 * Nothing in an answer tells which message it is about but a number, and no side ever says that number of a message: both
 * count. RabbitMQ counts the publishes of a channel as it reads them, from 1 (https://www.rabbitmq.com/docs/confirms). So
 * this side must count them in the order in which their bytes are handed to the socket. One count that is off by one
 * makes every answer after it the proof of another message.
 *
 * So `number` is called when the first byte of a message is handed over, and an answer that is not about exactly what is
 * outstanding ends all trust: it throws, and nothing is told any more.
 */
export class Confirms<T> {
  #numbered = 0
  #broken = false
  /** In the order of their numbers. */
  readonly #outstanding = new Map<number, T>()
  readonly #returned = new Set<number>()

  /** The delivery tag of whatever is handed over next. */
  get next(): number {
    return this.#numbered + 1
  }

  /** Whoever calls this hands the item's bytes over next, and nothing in between. @returns its delivery tag. */
  number(item: T): number {
    this.#numbered += 1
    this.#outstanding.set(this.#numbered, item)
    return this.#numbered
  }

  /**
   * The broker gives a message back that no queue took (`basic.return`). Its confirm comes after that and reads like any
   * other. The message itself carries its number.
   * @throws TidegateError `CONFIRM_MISMATCH`
   */
  returned(tag: number): void {
    if (this.#broken || !this.#outstanding.has(tag)) throw this.#mismatch(`a return of publish ${tag}`)
    this.#returned.add(tag)
  }

  /**
   * `basic.ack` and `basic.nack`: about one publish, or about all up to this one that have no answer yet (`multiple`).
   * @throws TidegateError `CONFIRM_MISMATCH` if that publish was never handed over, or has its answer already.
   */
  answered(kind: 'ack' | 'nack', tag: number, multiple: boolean): Fate<T>[] {
    const last = this.#outstanding.get(tag)
    if (this.#broken || last === undefined) throw this.#mismatch(`an ${kind} of publish ${tag}`)
    if (!multiple) return [this.#settle(kind, tag, last)]
    const fates: Fate<T>[] = []
    for (const [number, item] of this.#outstanding) {
      if (number > tag) break
      fates.push(this.#settle(kind, number, item))
    }
    return fates
  }

  #settle(kind: 'ack' | 'nack', tag: number, item: T): Fate<T> {
    this.#outstanding.delete(tag)
    const unroutable = this.#returned.delete(tag)
    if (kind === 'nack') return { item, kind: 'nacked' }
    return { item, kind: unroutable ? 'unroutable' : 'routed' }
  }

  #mismatch(what: string): TidegateError {
    this.#broken = true
    const [oldest] = this.#outstanding.keys()
    const waiting =
      oldest === undefined ? 'none waits' : `${this.#outstanding.size} wait, the oldest is ${oldest}`
    return new TidegateError('CONFIRM_MISMATCH', {
      message: `the broker sent ${what}, but of ${this.#numbered} publishes ${waiting}: confirms cannot be told apart`,
      retryable: true,
      hint: 'the connection was ended and what was not proven is sent again; if this repeats, report it with both versions',
    })
  }
}
