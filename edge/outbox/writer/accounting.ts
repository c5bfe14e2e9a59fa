import { TidegateError } from '../../../src/errors.ts'
import { bothLanes, type OutboxStats } from '../outbox.ts'
import { type Core, lowestUnread } from './core.ts'
import type { Draft } from './draft.ts'
import { countOfBlock } from '../layout/block.ts'
import { readGone } from '../layout/gone.ts'
import { eventRange, parseBlockKey } from '../layout/keys.ts'
import { recount } from '../opening/recount.ts'
import type { State } from '../opening/state.ts'

/**
 * Counts what is there, adopts it, and enters what is not in the ledger.
 * @throws TidegateError `STORE_CORRUPT` all that was read and is expected is there, and yet no read comes to it: an index of the
 *   store is damaged
 */
export async function recountInto(core: Core, draft: Draft): Promise<void> {
  const { log } = core.options
  const { store, head, undelivered, lanes } = core.state
  const counted = await recount(store, { known: head, undelivered: undelivered.all() })
  const expected = head.depth.high + head.depth.normal
  const found = counted.totals.depth.high + counted.totals.depth.normal
  log.error({ code: 'OUTBOX_DAMAGED', expected, found }, 'the outbox does not hold what it should')
  draft.operations.push(...counted.operations)
  draft.discard(counted.unreadable)
  draft.adopt(counted.totals, counted.devices)
  const { first } = counted.totals
  const isBehind = bothLanes.some((lane) => first[lane] < lowestUnread(core, lane))
  // A release that was not synced may be undone by a power cut although what was written behind it is there (LevelDB
  // syncs one log at a time): such events are back behind what was read, are counted, and have to be read.
  if (isBehind) {
    // Read again from there once, and not come to.
    if (runDry(core) && core.readAgainFrom === first.normal + first.high) throw unreachable(found)
    core.readAgainFrom = first.normal + first.high
    core.state.lanes = lanes.again(first)
  }
  for (const range of counted.missing) undelivered.note(range, draft.operations)
  core.doubtful = allHanded(core)
  if (counted.lost > 0) draft.undelivered.set('lost', counted.lost)
}

/** Everything was read, nothing is in flight, and still something is queued: then it is not there. */
export function runDry(core: Core): boolean {
  const { state, handed, reading } = core
  const { head, lanes } = state
  if (head.depth.high + head.depth.normal === 0 || reading) return false
  return handed.inFlight.size + handed.releasing.size === 0 && lanes.waitMs(head) === Infinity
}

function unreachable(events: number): TidegateError {
  return new TidegateError('STORE_CORRUPT', {
    message: `${events} events are there and cannot be read`,
    retryable: false,
    hint: 'the store is repaired and read again; check the health of the disk',
  })
}

/** Every position in somebody's hands. */
export function allHanded(core: Core): Set<number> {
  const { inFlight, releasing } = core.handed
  return new Set([...inFlight.keys(), ...releasing.keys()])
}

/** Whether the store holds as many events as the head counts; true, too, when `signal` cuts the count short. */
export async function isComplete({ store, head }: State, signal: AbortSignal): Promise<boolean> {
  // Of the same moment as the head, whatever comes and goes during the count.
  const snapshot = store.snapshot()
  try {
    let found = -(await readGone(snapshot)).size
    for (const lane of bothLanes) {
      for await (const blocks of snapshot.chunks(eventRange(lane, 0))) {
        if (signal.aborted) return true
        for (const [key, value] of blocks) found += countOfBlock(lane, parseBlockKey(key).last, value)
      }
    }
    return found === head.depth.high + head.depth.normal
  } finally {
    await snapshot.close()
  }
}

/** What is counted anyway. */
export function countsOf({
  state,
  handed,
}: Core): Omit<OutboxStats, 'oldestAgeMs' | 'waiting' | 'stuckMs' | 'refusing' | 'unsigned'> {
  const { head, devices, dedup, lanes } = state
  const { inFlight } = handed
  const waitMs = lanes.waitMs(head)
  return {
    epoch: head.epoch,
    lastSequence: head.position - head.epochBase,
    depth: { ...head.depth },
    bytes: { ...head.bytes },
    backlog: lanes.backlogLeft(),
    inFlight: inFlight.size,
    pausing: inFlight.size === 0 && waitMs > 0 && waitMs < Infinity,
    devices: devices.size,
    rememberedIds: dedup.count(),
  }
}

/** Tells the observer of what a write has brought about. */
export function tellLanded({ options: { observer } }: Core, draft: Draft): void {
  if (draft.appended.length > 0) observer.batch(draft.appended.length, draft.payloadBytes)
  for (const [reason, count] of draft.undelivered) observer.undelivered(reason, count)
  const lost = draft.undelivered.get('lost')
  if (lost !== undefined) observer.lost(lost)
}
