import type { LetterFilter } from '../replays/filter.ts'
import type { JsonPatch } from '../replays/json-patch.ts'
import type { HistorySelection, ReplayRequest, ReplayState } from '../replays/replays.ts'

export type { JsonPatch } from '../replays/json-patch.ts'
export type { LetterFilter } from '../replays/filter.ts'
export type { HistorySelection, ReplayRequest, ReplayState, ReplayStatus } from '../replays/replays.ts'

/**
 * What a person does about failures (G5, G8): each deed is on record, with who and why, in the transaction of its effect, and as an
 * event of the cloud's own ledger. Port; the adapter is deeds-postgres.ts.
 */
export interface Deeds {
  /**
   * Sends letters back to their group, those that match and are open now; or events of history that is stored now to a group. Answers once
   * that is on record; the replayer does it.
   * @throws TidegateError `FILTER_EMPTY`, `DEED_INVALID`; of history `GROUP_UNKNOWN`, `REPLAY_TO_HISTORY`, `GENERATION_INAPPLICABLE`, `REPLAY_BEYOND_INBOX`,
   *   `CURSOR_INVALID`, `CURSOR_AHEAD`
   */
  replay(deed: Deed<ReplayRequest>): Promise<ReplayStarted>
  /** What a replay of these would do. Writes nothing. @throws TidegateError `FILTER_EMPTY` */
  preview(filter: LetterFilter): Promise<ReplayPreview>
  /** What a replay of these events would send. Writes nothing. @throws TidegateError as `replay` does */
  previewHistory(selection: HistorySelection, generation?: string): Promise<HistoryPreview>
  /** One of history that has stopped goes on where it was. @throws TidegateError `REPLAY_UNKNOWN`, `REPLAY_NOT_RESUMABLE` */
  resumeReplay(deed: Deed<{ replay: number }>): Promise<ReplayState>
  /** Sends nothing more. What is on its way is settled by its group. @throws TidegateError `REPLAY_UNKNOWN` */
  stopReplay(deed: Deed<{ replay: number }>): Promise<ReplayState>
  /** How far a replay is. @throws TidegateError `REPLAY_UNKNOWN` */
  replayState(replay: number): Promise<ReplayState>
  /**
   * Corrects the data of an open letter for its next replay, instead of what an earlier edit did. An empty patch takes the edit back.
   * @throws TidegateError `LETTER_UNKNOWN`, `LETTER_CHANGED` (it is not what `ifMatch` says), `LETTER_CLOSED`, `EDIT_REFUSED`,
   *   `SCHEMA_VIOLATION` and what else the schema check says
   */
  edit(deed: Deed<EditRequest>): Promise<LetterState>
  /**
   * Closes open letters that are not to be processed, some hundred at a time; a later copy of the event is a repeat. After some ten seconds
   * it answers how far it is, and so where something is in the way of a later piece; it goes on when it is asked for again under its key.
   * @throws TidegateError `FILTER_EMPTY`; whatever an asking meets that has discarded nothing
   */
  discard(deed: Deed<{ filter: LetterFilter }>): Promise<Discarded>
  /**
   * Makes an event of the cloud's own ledger of a reading that was rejected at the edge, and sends it to all groups.
   * @throws TidegateError `READING_UNKNOWN`, `ADMISSION_REFUSED`, `IDENTITY_TAKEN`, and what the schema check says
   */
  admit(deed: Deed<AdmitRequest>): Promise<Admitted>
  /**
   * Puts on record that a loss is accepted, so that the audit says by whom and why instead of raising the alarm. Nobody signs it: it does not
   * say that the gateway gave up what is missing, in a ledger that is signed as little as in one that is not. Refused for what is there, what is
   * beyond the known end, and what may still come. @throws TidegateError `ACCEPTANCE_REFUSED`
   */
  accept(deed: Deed<AcceptRequest>): Promise<Accepted>
}

export interface Asker {
  /** Who it is, as the record is to say. */
  actor: string
  roles: readonly string[]
}

/**
 * The same key with the same request, by the same person, is the same deed, and has the same answer. With another it is refused.
 * All deeds throw TidegateError `IDEMPOTENCY_KEY_REUSED`, `DEED_INVALID` (no key, no reason), and `DATABASE_*`.
 */
export interface Deed<Request> {
  /** UUID: the idempotency key. */
  key: string
  by: Asker
  reason: string
  request: Request
}

export interface ReplayStarted {
  replay: number
  /** Letters that matched and were open; of history, positions from the first to the end, of whatever events. */
  total: number
}

/** How a group keeps its effects single; undefined: it does not run here. */
export type GroupKnown = (group: string) => 'inbox' | 'own' | undefined

export interface HistoryPreview {
  group: string
  /** As far as was looked: 100,000 events at the most. */
  events: number
  /** All was looked at. */
  isWhole: boolean
  /** Most first, at most 50; also of types that the group does not take, where none was named. */
  byType: readonly { type: string; events: number }[]
  /** What it has processed before has no effect without a generation; null: the group does not run in this instance. */
  keepsInbox: boolean | null
}

export interface ReplayPreview {
  letters: number
  /** Of these, those that were never believed to come from where they say: each is asked again, unless the replay says `believe`. */
  unvetted: number
  /** The largest first, at most 50 of each. */
  byFingerprint: readonly { fingerprint: string; group: string; code: string; letters: number }[]
  byDevice: readonly { device: string; letters: number }[]
  /** Whether today's schemas accept them, with their edits: of the first 10,000. */
  schema: { checked: number; accepted: number; refused: number }
  /** Devices among them whose events wait behind one that fails: what is replayed of them waits too. At most 50. */
  parked: readonly { group: string; device: string }[]
  /** Groups of them that do not run. */
  heldGroups: readonly { group: string; state: string; reason?: string }[]
}

export interface Discarded {
  /** So far. */
  discarded: number
  /** Letters that matched and were open when it was asked for. Absent: more than 100,000, which are not counted. */
  total?: number
  /** False: ask again, under the same key. */
  done: boolean
}

export interface EditRequest {
  letter: number
  patch: JsonPatch
  /** The version the asker has seen (`LetterState.version`). Absent: whatever it is. */
  ifMatch?: string
}

export interface LetterState {
  letter: number
  state: string
  /** Changes with every change of the letter: an ETag. */
  version: string
}

export interface AdmitRequest {
  /** The ledger place of the rejected reading. */
  gateway: string
  epoch: string
  sequence: number
  /** Its event type, if the edge did not know it. */
  type?: string
  /** RFC 3339: of a reading that is no CloudEvent. Absent: when the gateway received it. */
  time?: string
}

export interface Admitted {
  /** The ledger place of the event. */
  gateway: string
  epoch: string
  sequence: number
  source: string
  id: string
  type: string
}

export interface AcceptRequest {
  gateway: string
  epoch: string
  ranges: readonly { from: number; to: number }[]
  /** What became known to be missing within this, ms, may still come and is refused. Absent: ten minutes. */
  settleMs?: number
  /** Of what a letter of history says that it is, and was never believed to be: that may be a forgery, and does not hold the place. */
  disbelieve?: boolean
}

/** Where it is on record. */
export interface Accepted {
  epoch: string
  sequence: number
}
