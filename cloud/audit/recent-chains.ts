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

/** Places in a row, each with an event and one more of `events` than the one before. The counts are those of the last. */
export interface Run extends Counts {
  from: number
  to: number
  /** Whether each of them was to be signed, but perhaps for the first. */
  signs: boolean
}

const placesMin = 256
/** A ledger with more holes than this between its signatures is audited anew from before them. */
const runsMax = 64

/** The chain values of the sequences that came last: as many as a checkpoint may reach back, in flat memory (G7). Most ledgers of a fleet are short. */
export class RecentChains {
  #places = placesMin
  /** Which sequence stands in each place. */
  #sequences = new Float64Array(placesMin)
  #events = new Float64Array(placesMin)
  #toBeSigned = new Float64Array(placesMin)
  #before = new Float64Array(placesMin)
  #chains = Buffer.alloc(placesMin * chainBytes)
  #runs: Run[] = []
  /** Places up to there are in no run any more. */
  #forgotten = 0

  /** `runs`: what came before. Its chain values are where the events are. */
  constructor(runs: readonly Run[] = []) {
    this.#runs = runs.map((run) => ({ ...run }))
  }

  add(sequence: number, chain: string, counts: Counts): void {
    while (this.#places < checkpointDistanceMax && this.#takesPlace(sequence)) this.#grow()
    this.#set(sequence, chain, counts)
    this.#enter(sequence, counts)
  }

  #enter(sequence: number, counts: Counts): void {
    const last = this.#runs.at(-1)
    const signed = counts.toBeSigned - (last?.toBeSigned ?? 0)
    const isNext =
      last?.to === sequence - 1 &&
      last.events === counts.events - 1 &&
      last.before === counts.before &&
      (last.from === last.to ? signed === 0 || signed === 1 : signed === (last.signs ? 1 : 0))
    if (isNext) {
      Object.assign(last, counts, { to: sequence, signs: signed === 1 })
      return
    }
    this.#runs.push({ from: sequence, to: sequence, signs: false, ...counts })
    if (this.#runs.length > runsMax) this.#forgotten = this.#runs.shift()?.to ?? 0
  }

  /** The runs from a place on; undefined: there are too many. */
  runsFrom(sequence: number): Run[] | undefined {
    if (this.#forgotten >= sequence) return undefined
    return this.#runs.filter(({ to }) => to >= sequence).map((run) => ({ ...run }))
  }

  /** Of a place in a run. */
  countsAt(sequence: number): Counts | undefined {
    const run = this.#runs.find(({ from, to }) => from <= sequence && sequence <= to)
    if (run === undefined) return undefined
    const behind = run.to - sequence
    const { events, toBeSigned, before, signs } = run
    return { events: events - behind, toBeSigned: toBeSigned - (signs ? behind : 0), before }
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
    const all = [...this.#sequences].flatMap((sequence) => {
      const one = sequence > 0 ? this.at(sequence) : undefined
      return one ? [{ sequence, ...one }] : []
    })
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
}
