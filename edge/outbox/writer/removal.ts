import { claimedChain } from '../../../src/contract/codec.ts'
import { checkpointType } from '../../../src/contract/checkpoint.ts'
import { ledgerType, type Undelivered } from '../../../src/contract/event.ts'
import { schemasType } from '../../../src/contract/schemas-used.ts'
import { bothLanes } from '../outbox.ts'
import { type Core, lowestUnread, type Removal } from './core.ts'
import type { Draft } from './draft.ts'
import { creditOf, type Head } from '../layout/head.ts'
import {
  allExpiries,
  eventKey,
  eventRange,
  expiryKey,
  parseBlockKey,
  parseExpiryKey,
  present,
} from '../layout/keys.ts'
import { queuedIn } from '../layout/queued.ts'
import { decodeRecord, type NewEvent, type StoredEvent } from '../layout/record.ts'
import type { State } from '../opening/state.ts'
import type { UndeliveredRange } from '../rules/undelivered.ts'

const evictEventsMin = 100
const evictBytesPerRead = 128 * 1024
const expireEventsMax = 1000

/** Evicts some of the oldest events of the lowest lane that has any; false if there is nothing to evict. */
export async function evictInto(core: Core, draft: Draft, bytesNeeded: number): Promise<boolean> {
  const { store, gone, lanes: cursors } = core.state
  for (const lane of bothLanes.toReversed()) {
    if (draft.head.depth[lane] === 0) continue
    const from = Math.max(lowestUnread(core, lane), draft.evictedTo(lane, cursors) + 1)
    const blocks = await store.entries(eventRange(lane, from), evictEventsMin, evictBytesPerRead)
    // The uplink was lost while we read: older events than these are to be read again.
    if (cursors !== core.state.lanes) return evictInto(core, draft, bytesNeeded)
    let freedBytes = 0
    let count = 0
    for (const entry of queuedIn(blocks, gone, from)) {
      const event = decodeRecord(entry)
      draft.lookedAt(lane, cursors, event.position)
      if (core.handed.busy(event.position) || draft.removed.has(event.position)) continue
      if (isEvidence(draft.head, event)) continue
      removeUndelivered(core, draft, event, 'evicted')
      freedBytes += event.bytes
      count += 1
      if (count >= evictEventsMin && freedBytes >= bytesNeeded) break
    }
    if (count > 0) return true
    const last = blocks.at(-1)
    if (!last) continue
    draft.lookedAt(lane, cursors, parseBlockKey(last[0]).last)
    return evictInto(core, draft, bytesNeeded)
  }
  return false
}

/**
 * G8: reports of losses are never evicted, nor is the word on what events were judged by, nor are the signatures that make them believed. Of those an epoch that goes on
 * needs its newest, which signs whatever the earlier ones do; of an epoch that has ended all stay.
 */
function isEvidence({ signed, epochBase }: Head, { type, position }: StoredEvent): boolean {
  if (type === ledgerType || type === schemasType) return true
  if (type !== checkpointType) return false
  return position <= epochBase || position > (signed?.through ?? 0)
}

/** Takes out what is past its time, as much as one write takes; whether there is more. */
export async function expireInto(core: Core, draft: Draft): Promise<boolean> {
  const { state } = core
  const { store } = state
  const nowMs = core.steady.now()
  // Each look walks over the deadlines of everything that was released before the first that still holds.
  if (nowMs <= state.nextDeadlineMs) return false
  state.nextDeadlineMs = Infinity
  let takenOut = 0
  /** Blocks that were looked at, and whether what is past its time in them is in somebody's hands. */
  const looked = new Map<string, { isInUse: boolean }>()
  // What is in somebody's hands keeps its place at the front: behind it we read on.
  for (let { gte } = allExpiries; ;) {
    const deadlines = await store.entries({ ...allExpiries, gte }, expireEventsMax)
    for (const [key] of deadlines) {
      const { keptMs, last, lane } = parseExpiryKey(key)
      if (keptMs >= nowMs || takenOut >= expireEventsMax) {
        stillDue(state, keptMs)
        return keptMs < nowMs
      }
      const blockKey = eventKey(lane, last)
      if (!looked.has(blockKey)) {
        const value = await store.get(blockKey)
        const block = value === undefined ? [] : queuedIn([[blockKey, value]], state.gone, 0)
        const { isInUse, expired } = expireBlock(core, draft, block.map(decodeRecord), nowMs)
        looked.set(blockKey, { isInUse })
        takenOut += expired
      }
      // What is in somebody's hands may come back.
      if (looked.get(blockKey)?.isInUse === true) stillDue(state, keptMs)
      else {
        draft.operations.push({ type: 'del', key })
        takenOut += 1
      }
    }
    const last = deadlines.at(-1)
    if (!last || deadlines.length < expireEventsMax) return false
    gte = `${last[0]}~`
  }
}

/** Takes out what is past its time of a block; whether some of that is in use, and how much was taken out. */
function expireBlock(
  core: Core,
  draft: Draft,
  events: readonly StoredEvent[],
  nowMs: number,
): { isInUse: boolean; expired: number } {
  let expired = 0
  let isInUse = false
  for (const event of events) {
    const { deadlineSteadyMs, position, block } = event
    if (deadlineSteadyMs === undefined || draft.removed.has(position)) continue
    const deadlineMs = deadlineSteadyMs + creditOf(draft.head, position)
    if (deadlineMs >= nowMs) {
      // Time spent off was added to it since: what stands under its deadline goes.
      if (deadlineSteadyMs < nowMs) {
        const key = expiryKey(deadlineMs, block.last, block.lane)
        draft.operations.push({ type: 'put', key, value: present })
      }
      stillDue(core.state, deadlineMs)
    } else if (core.handed.busy(position)) {
      isInUse = true
    } else {
      removeUndelivered(core, draft, event, 'expired')
      expired += 1
    }
  }
  return { isInUse, expired }
}

/** Something is to be looked at once this moment has passed. */
export function stillDue(state: State, deadlineMs: number): void {
  state.nextDeadlineMs = Math.min(state.nextDeadlineMs, deadlineMs)
}

function beginRemoval(): Removal {
  const door = new AbortController()
  const over = new Promise<void>((resolve) => {
    door.signal.addEventListener('abort', () => resolve(), { once: true })
  })
  return { over, end: () => door.abort() }
}

/** The write has landed, or has been given up. */
export function endRemoval(
  core: Pick<Core, 'removing' | 'removal' | 'reading'> & { state: Pick<State, 'gone'> },
): void {
  core.removal?.end()
  core.removal = undefined
  // Only a read that is under way can have met any of these.
  if (core.reading) return
  core.removing.clear()
  core.state.gone.forgetEmptied()
}

/** G2: leaves the store and enters the ledger in the same write. */
export function removeUndelivered(
  core: Core,
  draft: Draft,
  event: StoredEvent | NewEvent,
  reason: Undelivered,
): void {
  core.removal ??= beginRemoval()
  core.removing.add(event.position)
  draft.remove(event)
  draft.undelivered.set(reason, (draft.undelivered.get(reason) ?? 0) + 1)
  const range: UndeliveredRange = {
    from: event.position,
    to: event.position,
    reason,
    ...epochOfEvent(core.state.head, event),
  }
  core.state.undelivered.note(range, draft.operations)
}

/** The epoch of a stored event, which may be older than that of the head. */
function epochOfEvent(
  head: Head,
  event: { position: number; sequence: number; text: string },
): {
  epoch: string
  epochBase: number
  chain?: string
} {
  const chain = claimedChain(event.text)
  const epochBase = event.position - event.sequence
  const epoch =
    event.position > head.epochBase ? head.epoch : (JSON.parse(event.text) as { epoch: string }).epoch
  return { epoch, epochBase, ...(chain === undefined ? {} : { chain }) }
}

/** Takes out what was proven to have arrived (G3). */
export async function releaseInto(core: Core, draft: Draft, events: StoredEvent[]): Promise<void> {
  const doubted = events.filter(({ position }) => core.doubtful.has(position))
  const there = await core.state.store.hasMany(doubted.map(({ block }) => block.key))
  const gone = new Set(doubted.filter((event, index) => !there[index] || core.state.gone.has(event)))
  for (const event of events) {
    core.doubtful.delete(event.position)
    if (!gone.has(event)) draft.remove(event)
  }
}
