import { generationPattern, headers as names } from '../../src/contract/wire.ts'
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
  /** Of what replays have sent out of history: what has become of it. One that is delivered twice may be counted twice. */
  count(settled: readonly SettledEvent[]): Promise<void>
}

/** What a message is that a replay has sent. */
export interface ReplayMark {
  /** `letter`: a dead letter that comes back; `history`: an event of the record. */
  readonly of: 'letter' | 'history'
  /** Its number; 0: a group that is new begins at the beginning of history. */
  readonly replay: number
  /** Its effect is wanted once more, on purpose: once for each generation. Undefined: what was processed has no effect again. */
  readonly generation: string | undefined
}

/** An event that a replay has sent out of history, once it is settled. */
export interface SettledEvent {
  replay: number
  partition: number
  /** Of a marker: the round it was sent in. */
  generation?: string | undefined
  outcome: 'resolved' | 'repeat' | 'failed'
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
  count: () => Promise.resolve(),
}

type Sent = Pick<Delivery, 'exchange' | 'headers'>

/** Of which letter a delivery is the replay. Only the cloud publishes by the default exchange; anybody writes headers (G9). */
export function letterOf({ exchange, headers }: Sent): SentLetter | undefined {
  if (exchange !== '') return undefined
  const letter = headers[names.letter]
  const replay = headers[names.replay]
  return isNumber(letter) && isNumber(replay) ? { letter, replay } : undefined
}

/** What a delivery is the replay of; undefined: of nothing. Believed as `letterOf` is. */
export function replayOf(delivery: Sent): ReplayMark | undefined {
  const { exchange, headers } = delivery
  if (exchange !== '') return undefined
  const replay = headers[names.replay]
  if (replay !== 0 && !isNumber(replay)) return undefined
  const generation = headers[names.generation]
  return {
    of: letterOf(delivery) ? 'letter' : 'history',
    replay,
    generation: isGeneration(generation) ? generation : undefined,
  }
}

/** Of a replay out of history, if its settlement is counted. */
export function countedOf(delivery: Sent): number | undefined {
  const mark = replayOf(delivery)
  return mark?.of === 'history' && mark.replay > 0 ? mark.replay : undefined
}

/** Whether it is the name of one: `generationPattern`. */
export function isGeneration(value: unknown): value is string {
  return typeof value === 'string' && generationPattern.test(value)
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}
