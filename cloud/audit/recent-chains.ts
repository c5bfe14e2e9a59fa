import { checkpointDistanceMax } from '../../src/contract/checkpoint.ts'

const chainBytes = 32

/** The chain values of the sequences that came last: as many as a checkpoint may reach back, in flat memory (G7). */
export class RecentChains {
  /** Which sequence stands in each place, and how many events came up to it. */
  readonly #sequences = new Float64Array(checkpointDistanceMax)
  readonly #counts = new Float64Array(checkpointDistanceMax)
  readonly #chains = Buffer.alloc(checkpointDistanceMax * chainBytes)

  add(sequence: number, chain: string, count: number): void {
    const place = sequence % checkpointDistanceMax
    this.#sequences[place] = sequence
    this.#counts[place] = count
    this.#chains.write(chain, place * chainBytes, chainBytes, 'base64url')
  }

  /** Undefined: no event has come with this sequence, or it is too long ago. */
  at(sequence: number): { chain: string; count: number } | undefined {
    const place = sequence % checkpointDistanceMax
    if (this.#sequences[place] !== sequence) return undefined
    const from = place * chainBytes
    return {
      chain: this.#chains.toString('base64url', from, from + chainBytes),
      count: this.#counts[place] ?? 0,
    }
  }
}
