import { checkpointDistanceMax } from '../../src/contract/checkpoint.ts'

const chainBytes = 32

/** Of the events up to a place. */
export interface Counts {
  events: number
  /** Those that a gateway was to sign. */
  toBeSigned: number
  /** Events before the stretch that the place stands in, in which each follows the one before. */
  before: number
}

/** What is known of one place. */
export interface Recent extends Counts {
  sequence: number
  chain: string
}

/** The chain values of the sequences that came last: as many as a checkpoint may reach back, in flat memory (G7). */
export class RecentChains {
  /** Which sequence stands in each place. */
  readonly #sequences = new Float64Array(checkpointDistanceMax)
  readonly #events = new Float64Array(checkpointDistanceMax)
  readonly #toBeSigned = new Float64Array(checkpointDistanceMax)
  readonly #before = new Float64Array(checkpointDistanceMax)
  readonly #chains = Buffer.alloc(checkpointDistanceMax * chainBytes)

  add(sequence: number, chain: string, { events, toBeSigned, before }: Counts): void {
    const place = sequence % checkpointDistanceMax
    this.#sequences[place] = sequence
    this.#events[place] = events
    this.#toBeSigned[place] = toBeSigned
    this.#before[place] = before
    this.#chains.write(chain, place * chainBytes, chainBytes, 'base64url')
  }

  /** Undefined: no event has come with this sequence, or it is too long ago. */
  at(sequence: number): ({ chain: string } & Counts) | undefined {
    const place = sequence % checkpointDistanceMax
    if (this.#sequences[place] !== sequence) return undefined
    const from = place * chainBytes
    return {
      chain: this.#chains.toString('base64url', from, from + chainBytes),
      events: this.#events[place] ?? 0,
      toBeSigned: this.#toBeSigned[place] ?? 0,
      before: this.#before[place] ?? 0,
    }
  }

  /** Of those places what is there. */
  between(from: number, to: number): Recent[] {
    const found: Recent[] = []
    for (let sequence = Math.max(from, 1); sequence <= to; sequence++) {
      const one = this.at(sequence)
      if (one) found.push({ sequence, ...one })
    }
    return found
  }
}
