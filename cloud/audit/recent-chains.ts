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

const placesMin = 256

/** The chain values of the sequences that came last: as many as a checkpoint may reach back, in flat memory (G7). Most ledgers of a fleet are short. */
export class RecentChains {
  #places = placesMin
  /** Which sequence stands in each place. */
  #sequences = new Float64Array(placesMin)
  #events = new Float64Array(placesMin)
  #toBeSigned = new Float64Array(placesMin)
  #before = new Float64Array(placesMin)
  #chains = Buffer.alloc(placesMin * chainBytes)

  add(sequence: number, chain: string, counts: Counts): void {
    while (this.#places < checkpointDistanceMax && this.#takesPlace(sequence)) this.#grow()
    this.#set(sequence, chain, counts)
  }

  /** Of one that a checkpoint may still sign. */
  #takesPlace(sequence: number): boolean {
    const there = this.#sequences[sequence % this.#places] ?? 0
    return there > 0 && there !== sequence && there > sequence - checkpointDistanceMax
  }

  #set(sequence: number, chain: string, { events, toBeSigned, before }: Counts): void {
    const place = sequence % this.#places
    this.#sequences[place] = sequence
    this.#events[place] = events
    this.#toBeSigned[place] = toBeSigned
    this.#before[place] = before
    this.#chains.write(chain, place * chainBytes, chainBytes, 'base64url')
  }

  #grow(): void {
    const all = [...this.#sequences].flatMap((sequence) => this.between(sequence, sequence))
    this.#places *= 4
    this.#sequences = new Float64Array(this.#places)
    this.#events = new Float64Array(this.#places)
    this.#toBeSigned = new Float64Array(this.#places)
    this.#before = new Float64Array(this.#places)
    this.#chains = Buffer.alloc(this.#places * chainBytes)
    for (const { sequence, chain, ...counts } of all) this.#set(sequence, chain, counts)
  }

  /** Undefined: no event has come with this sequence, or it is too long ago. */
  at(sequence: number): ({ chain: string } & Counts) | undefined {
    const place = sequence % this.#places
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
