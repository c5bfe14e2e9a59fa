import { headers as names } from '../../src/contract/wire.ts'
import type { Delivery } from '../amqp/delivery.ts'

/**
 * Dead letters that come back, within the transaction of what they cause (G4, G5). Port; the adapter is replayed-postgres.ts.
 *
 *     open ─▶ replaying ─▶ resolved       commit of the effect is resolution
 *      ▲          │
 *      └──────────┘                       failed again, or nothing was heard of it
 *
 * A message whose letter is not replaying in the very replay that sent it is a repeat, whatever it is then: sent twice, it has its
 * effect once, and one that was sent before an edit has none after it.
 */
export interface Replayed {
  /** Which of these letters of the group are replaying: nobody else has them until the end of the transaction. */
  hold(group: string, letters: readonly SentLetter[]): Promise<readonly SentLetter[]>
  /** Those that were held and processed. */
  resolve(letters: readonly number[]): Promise<void>
}

/** A letter, and the replay that sent it. */
export interface SentLetter {
  letter: number
  replay: number
}

/** For whatever replays nothing. */
export const nothingReplayed: Replayed = {
  hold: () => Promise.resolve([]),
  resolve: () => Promise.resolve(),
}

/** Of which letter a delivery is the replay. Only the cloud publishes by the default exchange; anybody writes headers (G9). */
export function letterOf({
  exchange,
  headers,
}: Pick<Delivery, 'exchange' | 'headers'>): SentLetter | undefined {
  if (exchange !== '') return undefined
  const letter = headers[names.letter]
  const replay = headers[names.replay]
  return isNumber(letter) && isNumber(replay) ? { letter, replay } : undefined
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}
