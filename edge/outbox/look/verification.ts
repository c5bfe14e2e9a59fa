import { claimedChain, genesis, verifyChain } from '../../../src/contract/codec.ts'
import { bothLanes, type Lane } from '../outbox.ts'
import type { StoreReader } from '../../store/store.ts'
import type { Head } from '../layout/head.ts'
import { headOf } from './inspection.ts'
import { allExpiries, eventKey, expiryKey, parseExpiryKey } from '../layout/keys.ts'
import { readUsage, type Usage } from '../layout/usage.ts'
import { readable, type StoredEvent } from '../layout/record.ts'
import { queued } from '../layout/queued.ts'
import { readUndelivered } from '../rules/undelivered.ts'

/** A fault of the store, in words. */
export interface Verification {
  events: number
  faults: string[]
}

const faultsMax = 100

/**
 * Reads everything: that each record is what was written, that the counts are right, that every time to live
 * is indexed, and that the hash chain holds wherever two neighbours are still queued.
 */
export async function verify(store: StoreReader): Promise<Verification> {
  const faults: string[] = []
  const fault = (text: string): void => {
    if (faults.length < faultsMax) faults.push(text)
  }
  const head = await headOf(store)
  const found: Record<Lane, Usage> = { high: { events: 0, bytes: 0 }, normal: { events: 0, bytes: 0 } }
  const devices = new Map<string, Usage>()
  let before: StoredEvent | undefined
  /** Where each deadline of a queued event is to be found. */
  const deadlines = new Set<string>()
  for await (const entry of queued(store)) {
    const { lane, position } = entry
    const event = readable(entry)
    if (event instanceof Error) {
      fault(event.message)
      before = undefined
      continue
    }
    if (position > head.position)
      fault(`position ${position} was never given out: the head stands at ${head.position}`)
    count(found[lane], event.bytes)
    const usage = devices.get(event.deviceId) ?? { events: 0, bytes: 0 }
    devices.set(event.deviceId, count(usage, event.bytes))
    if (event.deadlineSteadyMs !== undefined)
      deadlines.add(expiryKey(event.deadlineSteadyMs, event.block.last, lane))
    if (!chained(head, before, event))
      fault(`the chain breaks at sequence ${event.sequence} (${event.deviceId}, ${event.id})`)
    before = event
  }
  for (const lane of bothLanes) {
    const { events, bytes } = found[lane]
    if (events !== head.depth[lane])
      fault(`lane ${lane} holds ${events} events, the head says ${head.depth[lane]}`)
    if (bytes !== head.bytes[lane])
      fault(`lane ${lane} holds ${bytes} bytes, the head says ${head.bytes[lane]}`)
  }
  const { readable: counted, altered: unreadable } = await readUsage(store)
  if (unreadable > 0) fault(`the counts of ${unreadable} devices cannot be read`)
  for (const deviceId of new Set([...devices.keys(), ...counted.keys()])) {
    const [is, said] = [devices.get(deviceId)?.events ?? 0, counted.get(deviceId)?.events ?? 0]
    if (is !== said) fault(`${deviceId} has ${is} events queued, its count says ${said}`)
  }
  const { altered } = await readUndelivered(store)
  if (altered > 0) fault(`${altered} ranges that the cloud is to be told of cannot be read`)
  const indexed = await countDeadlines(store)
  if (indexed < deadlines.size)
    fault(`queued events have ${deadlines.size} times to live, of which ${indexed} are in their index`)
  return { events: found.high.events + found.normal.events, faults }
}

/** Whether `event` follows `before` where the two are neighbours in one epoch, or begins its epoch. */
function chained(head: Head, before: StoredEvent | undefined, event: StoredEvent): boolean {
  if (event.sequence === 1 && event.position - 1 === head.epochBase) {
    return verifyChain(event.text, genesis(head.gateway, head.epoch))
  }
  const neighbours = before?.position === event.position - 1 && before.sequence === event.sequence - 1
  return !neighbours || verifyChain(event.text, claimedChain(before.text) ?? '')
}

/** Deadlines of blocks that are there. One whose block was lost does no harm: it goes when it is due. */
async function countDeadlines(store: StoreReader): Promise<number> {
  let indexed = 0
  for await (const chunk of store.chunks(allExpiries)) {
    for (const [key] of chunk) {
      const { last, lane } = parseExpiryKey(key)
      if ((await store.get(eventKey(lane, last))) !== undefined) indexed += 1
    }
  }
  return indexed
}

function count(usage: Usage, bytes: number): Usage {
  usage.events += 1
  usage.bytes += bytes
  return usage
}
