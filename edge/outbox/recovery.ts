import { claimedChain, genesis } from '../../src/codec.ts'
import { codeOf } from '../../src/errors.ts'
import type { LedgerEntry } from '../../src/event.ts'
import type { Lane } from '../outbox.ts'
import type { Store, StoreFolder } from '../store.ts'
import { type Head, storeVersion } from './head.ts'
import { allDevices, allUndelivered, eventRange, headKey, positionOfEventKey } from './keys.ts'
import type { Usage } from './quota.ts'
import { decodeRecord } from './record.ts'
import type { UndeliveredRange } from './undelivered.ts'

/** What opening found out about the folder. */
export interface Damage {
  kind: 'repaired' | 'set-aside' | 'tail-lost' | 'head-lost' | 'count-mismatch'
  detail: string
  /** Events that were acknowledged and are gone; exact where the store still knew how many it held. */
  lost: number
}

export interface Loaded {
  store: Store
  head: Head
  devices: Map<string, Usage>
  undelivered: UndeliveredRange[]
  damage: Damage[]
  /** What the cloud must be told first. */
  announcements: LedgerEntry[]
  /** Opened as the last run left it in order: nothing to verify. */
  clean: boolean
}

export interface Identity {
  gateway: string
  /** A new ULID for each call. */
  newEpoch(): string
}

/**
 * Opens a folder whatever state it is in: as it is, repaired, or set aside and begun anew. Never deletes, and
 * never gives a place in the ledger out twice: after any damage a new epoch begins.
 * @throws TidegateError `OUTBOX_LOCKED` | `DATA_FOLDER_UNWRITABLE` | `STORE_UNAVAILABLE`
 */
export async function loadOutbox(
  folder: StoreFolder,
  identity: Identity,
  known: Damage[] = [],
): Promise<Loaded> {
  const damage = [...known]
  let store = await openDespiteDamage(folder, damage)
  let head = await readHead(store)
  if (head && head.version > storeVersion) {
    await store.close()
    const aside = await folder.setAside()
    damage.push({
      kind: 'set-aside',
      detail: `the outbox was written by a newer version (${head.version} > ${storeVersion}); it lies whole in ${aside}`,
      lost: 0,
    })
    store = await folder.open()
    const announcement = closed(head, 'corruption')
    const fresh = newHead(identity, 0)
    return {
      store,
      head: fresh,
      devices: new Map(),
      undelivered: [],
      damage,
      announcements: [announcement],
      clean: true,
    }
  }

  const undelivered = (await store.entries(allUndelivered, 1_000_000)).map(
    ([, value]) => JSON.parse(value) as UndeliveredRange,
  )
  const announcements: LedgerEntry[] = []
  const mark = head && parseMark(await folder.readMark())
  const tailLost = head && mark?.epoch === head.epoch ? Math.max(0, mark.position - head.position) : 0
  if (head && tailLost > 0) {
    damage.push({
      kind: 'tail-lost',
      detail: `the outbox should hold position ${head.position + tailLost} and ends at ${head.position}`,
      lost: tailLost,
    })
    undelivered.push(lostRange(head, head.position + 1, head.position + tailLost))
  }

  let devices = await readDevices(store)
  if (damage.length > 0 || !head) {
    const counted = await recount(store, head, undelivered)
    if (!head && counted.last > 0) {
      damage.push({ kind: 'head-lost', detail: 'the head record is gone; the events were counted', lost: 0 })
    }
    if (counted.lost > 0) {
      damage.push({
        kind: 'count-mismatch',
        detail: `${counted.lost} events are missing`,
        lost: counted.lost,
      })
      undelivered.push(...counted.lostRanges)
    }
    const base = Math.max(counted.last, head ? head.position + tailLost : 0)
    if (damage.length > 0 && head) announcements.push(closed({ ...head, position: base }, 'corruption'))
    head = { ...newHead(identity, base), ...counted.totals, ...(head ? clockAndWindow(head) : {}) }
    devices = counted.devices
  } else if (head.gateway !== identity.gateway) {
    announcements.push(closed(head, 'renamed'))
    head = { ...head, ...epochOf(newHead(identity, head.position)) }
  }
  return { store, head, devices, undelivered, damage, announcements, clean: head.clean }
}

async function openDespiteDamage(folder: StoreFolder, damage: Damage[]): Promise<Store> {
  try {
    return await folder.open()
  } catch (error) {
    if (codeOf(error) !== 'STORE_CORRUPT') throw error
    const detail = error instanceof Error ? error.message : String(error)
    try {
      await folder.repair()
      const store = await folder.open()
      damage.push({ kind: 'repaired', detail, lost: 0 })
      return store
    } catch (repairError) {
      if (codeOf(repairError) === 'OUTBOX_LOCKED') throw repairError
      const aside = await folder.setAside()
      damage.push({
        kind: 'set-aside',
        detail: `${detail}; it could not be repaired and lies in ${aside}`,
        lost: 0,
      })
      return folder.open()
    }
  }
}

async function readHead(store: Store): Promise<Head | undefined> {
  const value = await store.get(headKey)
  return value === undefined ? undefined : (JSON.parse(value) as Head)
}

async function readDevices(store: Store): Promise<Map<string, Usage>> {
  const devices = new Map<string, Usage>()
  for (const [key, value] of await store.entries(allDevices, 10_000_000)) {
    const [events = 0, bytes = 0] = value.split(' ').map(Number)
    devices.set(key.slice(2), { events, bytes })
  }
  return devices
}

export function newHead(identity: Identity, base: number): Head {
  const epoch = identity.newEpoch()
  return {
    version: storeVersion,
    gateway: identity.gateway,
    epoch,
    epochBase: base,
    position: base,
    chain: genesis(identity.gateway, epoch),
    depth: { high: 0, normal: 0 },
    bytes: { high: 0, normal: 0 },
    first: { high: base + 1, normal: base + 1 },
    generation: { number: 1, count: 0, openedSteadyMs: 0 },
    steadyMs: 0,
    wallMs: 0,
    clean: false,
  }
}

function epochOf({ gateway, epoch, epochBase, position, chain }: Head): Partial<Head> {
  return { gateway, epoch, epochBase, position, chain }
}

function clockAndWindow({ steadyMs, wallMs, generation }: Head): Partial<Head> {
  return { steadyMs, wallMs, generation }
}

function closed(head: Head, reason: 'corruption' | 'renamed'): LedgerEntry {
  return { kind: 'epoch-closed', epoch: head.epoch, lastSequence: head.position - head.epochBase, reason }
}

function lostRange(head: Head, from: number, to: number): UndeliveredRange {
  return { from, to, reason: 'lost', epoch: head.epoch, epochBase: head.epochBase }
}

export function markOf(head: Head): string {
  return `${head.epoch} ${head.position}`
}

function parseMark(mark: string | undefined): { epoch: string; position: number } | undefined {
  const [epoch, position] = mark?.split(' ') ?? []
  return epoch === undefined || position === undefined ? undefined : { epoch, position: Number(position) }
}

export interface Recount {
  totals: Pick<Head, 'depth' | 'bytes' | 'first'>
  devices: Map<string, Usage>
  /** Highest position found; 0 if none. */
  last: number
  /** Events that the head counted and the store does not hold. */
  lost: number
  lostRanges: UndeliveredRange[]
}

/** Counts what is really there. Reads every queued event once: only after damage, or when asked to. */
export async function recount(
  store: Store,
  head: Head | undefined,
  undelivered: UndeliveredRange[],
): Promise<Recount> {
  const totals: Recount['totals'] = {
    depth: { high: 0, normal: 0 },
    bytes: { high: 0, normal: 0 },
    first: { high: 0, normal: 0 },
  }
  const devices = new Map<string, Usage>()
  const lowest = head ? Math.min(head.first.high, head.first.normal) : 1
  const present = new Set<number>()
  let last = 0
  for (const lane of ['high', 'normal'] as const satisfies Lane[]) {
    let from = 0
    for (;;) {
      const entries = await store.entries(eventRange(lane, from), 1000)
      for (const [key, value] of entries) {
        const position = positionOfEventKey(key)
        const event = decodeRecord(lane, position, value)
        if (totals.first[lane] === 0) totals.first[lane] = position
        totals.depth[lane] += 1
        totals.bytes[lane] += event.bytes
        const usage = devices.get(event.deviceId) ?? { events: 0, bytes: 0 }
        devices.set(event.deviceId, { events: usage.events + 1, bytes: usage.bytes + event.bytes })
        present.add(position)
        last = Math.max(last, position)
      }
      const tail = entries.at(-1)
      if (!tail || entries.length < 1000) break
      from = positionOfEventKey(tail[0]) + 1
    }
  }
  const found = totals.depth.high + totals.depth.normal
  const lost = head ? Math.max(0, head.depth.high + head.depth.normal - found) : 0
  for (const lane of ['high', 'normal'] as const) {
    if (totals.first[lane] === 0) totals.first[lane] = Math.max(last, head?.position ?? 0) + 1
  }
  const lostRanges = head && lost > 0 ? gaps(head, lowest, present, undelivered) : []
  return { totals, devices, last, lost, lostRanges }
}

/**
 * Positions that are neither queued nor already accounted for. Some of them may have been delivered out of
 * order just before the damage: in the cloud what is present counts as present, so naming too many is harmless.
 */
function gaps(
  head: Head,
  lowest: number,
  present: ReadonlySet<number>,
  known: UndeliveredRange[],
): UndeliveredRange[] {
  const ranges: UndeliveredRange[] = []
  const accounted = (position: number): boolean =>
    present.has(position) || known.some(({ from, to }) => from <= position && position <= to)
  let from: number | undefined
  for (let position = Math.max(lowest, head.epochBase + 1); position <= head.position + 1; position++) {
    const missing = position <= head.position && !accounted(position)
    if (missing) from ??= position
    else if (from !== undefined) {
      ranges.push(lostRange(head, from, position - 1))
      from = undefined
    }
  }
  return ranges
}

/** The epoch of a stored event, which may be older than the head's. */
export function epochOfEvent(
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
