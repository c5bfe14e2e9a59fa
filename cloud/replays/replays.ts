import type { Headers, MessageProperties } from '../amqp/delivery.ts'
import type { LetterFilter } from './filter.ts'

/** Where what is sent comes from. */
export type ReplaySource =
  | { filter: LetterFilter; history?: undefined }
  | { filter?: undefined; history: HistorySelection; generation?: string | undefined }

/** Which events of history, and to which group: those that were accepted, all conditions hold. */
export interface HistorySelection {
  group: string
  /** Absent: all that the group takes. */
  types?: readonly string[] | undefined
  device?: string | undefined
  /** What the event says of its time: at or after, and before, ms since the Unix epoch. */
  fromMs?: number | undefined
  untilMs?: number | undefined
  /** A cursor: those behind it. Absent: from the beginning. */
  after?: string | undefined
}

export type ReplayRequest = ReplaySource & ReplayPace

export interface ReplayPace {
  /** Messages sent in a second at the most. Absent: as fast as they are settled. */
  ratePerSecond?: number
  /** So many letters first, and no more until all of them are settled; then the next number; behind the last, the rest. */
  ramp?: readonly number[]
  /** Of those that are settled, the share that may have failed, 0 to 1: a replay that exceeds it at the end of a step stops. */
  stopAtShare?: number
  /**
   * Letters that were never believed to come from where they say are believed now. Otherwise each is asked for that again, by what is
   * registered and configured today. One letter that is named as such, by its number and the code `PROVENANCE`, is believed as well.
   */
  believe?: boolean
}

/** See `ReplayRequest.believe`. */
export function believesAll({ believe = false, filter }: ReplayRequest): boolean {
  return believe || (filter?.letter !== undefined && filter.code === 'PROVENANCE')
}

export type ReplayStatus = 'running' | 'stopping' | 'stopped' | 'done'

export interface ReplayState {
  replay: number
  state: ReplayStatus
  /** Why it stopped, if it did. */
  reason?: string
  total: number
  sent: number
  resolved: number
  failed: number
  /** Events of history that the group had processed before, or does not take: without an effect. */
  repeats: number
  /** Of which nothing was heard for so long that they were opened again. */
  returned: number
  startedAt: string
  endedAt?: string
}

/**
 * Replays that are under way. Port; the adapter is replays-postgres.ts. Whoever has claimed one keeps it as long as it shows itself
 * within the lease; what somebody does who has lost it has no effect.
 *
 *     running ─▶ done                       all that matched are sent, and settled
 *        │  └──▶ stopping ─▶ stopped        a person, or the share of failures; what is on its way is settled first
 */
export interface Replays {
  /**
   * One that nobody has, or that whoever had it has left, and is due; of groups that do not run here when nobody has wanted it for the time of
   * the lease, or when it is to be stopped.
   */
  claim(): Promise<ClaimedReplay | undefined>
  /**
   * Keeps the claim, and answers how far it is, with everything that was settled until now. Undefined: it has been lost, or it is over.
   */
  look(claimed: ClaimedReplay): Promise<ReplayProgress | undefined>
  /** The next letters, which are replaying from now on, per device in the order of its ledger; and at first those that were taken before and perhaps not sent. */
  take(claimed: ClaimedReplay, lettersMax: number): Promise<readonly Replayable[]>
  /** The page that was taken last is sent. */
  sent(claimed: ClaimedReplay): Promise<void>
  /** The next step of the ramp. */
  step(claimed: ClaimedReplay): Promise<void>
  /** Sends nothing more. */
  stop(claimed: ClaimedReplay, reason: string): Promise<void>
  /**
   * Nothing was heard of letters that were sent, or the broker has not taken them: they are open again, also those of an open page, and
   * whoever still has their message has a repeat.
   */
  giveBack(claimed: ClaimedReplay): Promise<number>
  /** It is over. */
  end(claimed: ClaimedReplay, state: 'done' | 'stopped'): Promise<void>
  /** Lets any instance have it, not before `afterMs`; those that were released before come first. */
  release(claimed: ClaimedReplay, afterMs: number): Promise<void>
}

export interface ClaimedReplay {
  replay: number
  claim: string
  request: ReplayRequest
  /** Whether its group is one of ours; of a replay of no group in particular it is taken for that. */
  isOurs: boolean
}

export interface ReplayProgress extends Omit<ReplayState, 'replay' | 'startedAt' | 'endedAt'> {
  /** Index in the ramp; its length: behind the last step. */
  step: number
  /** Of this step. */
  stepSent: number
  /** There is nothing more to send. */
  exhausted: boolean
  /** A page was taken and is perhaps not sent. */
  pageOpen: boolean
  /** Since when nothing was sent or settled. */
  stillMs: number
}

/** As it is to be published. */
export type Replayable = ReplayedLetter | ReplayedEvent

/** An event of history. */
export interface ReplayedEvent {
  letter?: undefined
  group: string
  gateway: string
  id: string
  type: string
  /** The device. */
  partitionkey: string
  /** The wire text, verbatim. */
  text: string
  generation: string | undefined
}

/** A dead letter. */
export interface ReplayedLetter {
  letter: number
  group: string
  device: string | undefined
  body: Buffer
  properties: MessageProperties
  headers: Headers
  routingKey: string
  publisher: string | undefined
  /** It was never believed to come from where it says, and nobody has said that it is to be: whoever gets it asks (G9). */
  unvetted: boolean
  generation: string | undefined
  edit: LetterEdit | undefined
}

/** As it lies beside its letter. The first edit's and every later one's patch is of the text as it came. */
export interface LetterEdit {
  by: string
  at: string
  deed: string
  reason: string
  patch: readonly unknown[]
}

/** What was sent and is not settled. */
export function outstandingOf({ sent, resolved, failed, repeats, returned }: ReplayProgress): number {
  return Math.max(0, sent - resolved - failed - repeats - returned)
}

/** What is to be done next with a replay. */
export type ReplayMove =
  | { kind: 'send'; lettersMax: number }
  | { kind: 'step' }
  | { kind: 'stop'; reason: string }
  | { kind: 'give-back' }
  | { kind: 'end'; state: 'done' | 'stopped' }
  | { kind: 'wait' }

export interface MoveOptions {
  pageMax: number
  /** On their way at the most: partition queues are not filled, and devices that send now are not held up. */
  outstandingMax: number
  /** Of what is sent something is heard within this, ms; else its letters are opened again. */
  settleWithinMs: number
}

/** The rule of a replay: what its progress allows next. */
export function nextMove(progress: ReplayProgress, request: ReplayRequest, options: MoveOptions): ReplayMove {
  const outstanding = outstandingOf(progress)
  const over = progress.state !== 'running'
  const isStill = progress.stillMs > options.settleWithinMs
  if (progress.pageOpen) {
    // Nobody knows whether its letters were sent: open again, they are in nobody's way, and their messages are repeats.
    if (over) return { kind: 'give-back' }
    if (isStill) return { kind: 'stop', reason: 'PUBLISH_UNPROVEN: the broker does not take its letters' }
    // What was taken before a crash goes first: its letters are replaying.
    return { kind: 'send', lettersMax: options.pageMax }
  }
  if (outstanding > 0 && isStill) {
    // Whatever has swallowed these would swallow the next.
    if (over || progress.exhausted) return { kind: 'give-back' }
    return { kind: 'stop', reason: 'REPLAY_UNSETTLED: nothing was heard of letters that were sent' }
  }
  if (over) return outstanding === 0 ? { kind: 'end', state: 'stopped' } : { kind: 'wait' }
  const ramp = request.ramp ?? []
  const left = progress.step < ramp.length ? (ramp[progress.step] ?? 0) - progress.stepSent : Infinity
  const isSettled = outstanding === 0
  const reason = tooMany(progress, request)
  if (reason !== undefined && (isSettled || left === Infinity)) return { kind: 'stop', reason }
  if (progress.exhausted) return isSettled ? { kind: 'end', state: 'done' } : { kind: 'wait' }
  if (left <= 0) return isSettled ? { kind: 'step' } : { kind: 'wait' }
  const lettersMax = Math.min(options.pageMax, left, options.outstandingMax - outstanding)
  return lettersMax > 0 ? { kind: 'send', lettersMax } : { kind: 'wait' }
}

/** Behind the ramp one that fails early must not end it. */
const settledMin = 10

function tooMany(progress: ReplayProgress, { stopAtShare, ramp = [] }: ReplayRequest): string | undefined {
  const settled = progress.resolved + progress.failed
  if (stopAtShare === undefined || settled === 0) return undefined
  if (progress.step >= ramp.length && settled < settledMin && !progress.exhausted) return undefined
  if (progress.failed / settled <= stopAtShare) return undefined
  return `REPLAY_FAILS: ${progress.failed} of ${settled} failed again, more than ${stopAtShare * 100} %`
}
