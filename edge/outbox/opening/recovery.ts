import { codeOf, messageOf, TidegateError } from '../../../src/errors.ts'
import type { LedgerEntry } from '../../../src/contract/event.ts'
import type { Store, StoreFolder, StoreOperation } from '../../store/store.ts'
import { decodeHead, type Head } from '../layout/head.ts'
import { type Gone, readGone } from '../layout/gone.ts'
import { headKey, laneGuard, present } from '../layout/keys.ts'
import type { Slot } from '../layout/record.ts'
import { readUsage, type Usage } from '../layout/usage.ts'
import { eventsInTorn, isCertain, type Memory, memoryOf, newestHead, tailLost, tornDetail } from './memory.ts'
import { type Identity, newHead } from './new-head.ts'
import { recount } from './recount.ts'
import { readUndelivered, type UndeliveredRange } from '../rules/undelivered.ts'

/** Written together with the first head, and with the first after damage, which may have taken it. */
const guard: StoreOperation = { type: 'put', key: laneGuard, value: present }

/** What opening found out about the folder. */
export interface Damage {
  kind:
    | 'repaired'
    | 'set-aside'
    | 'tail-torn'
    | 'tail-lost'
    | 'head-lost'
    | 'ranges-altered'
    | 'counts-altered'
    | 'count-mismatch'
  detail: string
  /** Events that were acknowledged and are gone: so many at the most, and exactly so many where the newest head is known. */
  lost: number
  /** So many more may have been, at the most: 0 is knowledge, null that nothing bounds it. */
  unsureMax: number | null
}

export interface Loaded {
  store: Store
  head: Head
  devices: Map<string, Usage>
  gone: Gone
  undelivered: UndeliveredRange[]
  damage: Damage[]
  /** What the cloud must be told first. */
  announcements: LedgerEntry[]
  /** What the first write must put right. */
  operations: StoreOperation[]
  /** What cannot be read, and leaves its block with the first write. */
  unreadable: Slot[]
  /** Opened as the last run left it in order: nothing to verify. */
  clean: boolean
}

/** What is known beforehand, when the folder was open until now. */
export interface Known {
  /** As of the last write that landed. */
  head?: Head
  /** The damage that was met: repair before anything else. */
  fault?: string
}

/**
 * Opens a folder whatever state it is in: as it is, repaired, or set aside and begun anew. Never deletes, and
 * never gives a place in the ledger out twice: after any damage a new epoch begins. What a newer version wrote is not touched.
 * @throws TidegateError `OUTBOX_LOCKED` | `DATA_FOLDER_UNWRITABLE` | `STORE_UNAVAILABLE` | `STORE_NEWER`
 */
export async function loadOutbox(
  folder: StoreFolder,
  identity: Identity,
  known: Known = {},
): Promise<Loaded> {
  try {
    return await openOrMend(folder, identity, known)
  } catch (error) {
    if (!(error instanceof TidegateError) || error.code !== 'STORE_NEWER') throw error
    const { code, message, retryable, hint } = error
    throw new TidegateError(code, { message: `${folder.location}: ${message}`, retryable, hint })
  }
}

async function openOrMend(folder: StoreFolder, identity: Identity, known: Known): Promise<Loaded> {
  const { head } = known
  const memory: Memory = head
    ? { head, answered: undefined, certain: true, running: true }
    : await memoryOf(folder)
  let fault = known.fault
  let remedy: 'none' | 'repair' | 'set-aside' = fault === undefined ? 'none' : 'repair'
  for (;;) {
    const damage: Damage[] = []
    let store: Store | undefined
    try {
      if (remedy === 'repair') await folder.repair(fault ?? '')
      else if (remedy === 'set-aside') {
        const detail = `${fault}; it lies whole in ${await folder.setAside()}`
        damage.push({ kind: 'set-aside', detail, lost: 0, unsureMax: null })
      }
      store = await folder.open()
      // Also if the last run repaired it and came no further.
      const { repaired } = store
      if (repaired && remedy !== 'set-aside') {
        const unsureMax = repaired.blind ? null : 0
        damage.push({ kind: 'repaired', detail: repaired.why, lost: 0, unsureMax })
      }
      return await read(store, identity, memory, damage)
    } catch (error) {
      await store?.close().catch(() => {})
      const code = codeOf(error)
      if (remedy === 'set-aside' || code !== 'STORE_CORRUPT') throw error
      fault = remedy === 'repair' ? `${fault}; repaired, and still: ${messageOf(error)}` : messageOf(error)
      remedy = remedy === 'repair' ? 'set-aside' : 'repair'
    }
  }
}

function tornDamage(certain: boolean, eventsMax: number | null): Damage {
  return { kind: 'tail-torn', detail: tornDetail(certain, eventsMax), lost: 0, unsureMax: eventsMax }
}

function unreadableDamage(kind: 'ranges-altered' | 'counts-altered', what: string): Damage {
  return { kind, detail: `${what} cannot be read`, lost: 0, unsureMax: 0 }
}

async function read(store: Store, identity: Identity, memory: Memory, damage: Damage[]): Promise<Loaded> {
  const value = await store.get(headKey)
  const head = decodeHead(value)
  const known = newestHead(memory, head, (base) => newHead(identity, base))
  const certain = isCertain(memory, head)
  // A head in memory says what was given out: then a write that was cut short is only one that failed.
  if (store.torn && !memory.running) damage.push(tornDamage(certain, eventsInTorn(store.torn, head)))
  const ranges = await readUndelivered(store)
  const devices = await readUsage(store)
  const gone = await readGone(store)
  if (gone.altered.length > 0)
    damage.push(unreadableDamage('counts-altered', `${gone.altered.length} marks of blocks`))
  if (ranges.altered > 0) damage.push(unreadableDamage('ranges-altered', `${ranges.altered} ranges`))
  if (devices.altered > 0) damage.push(unreadableDamage('counts-altered', `${devices.altered} counts`))
  const begunAnew = damage.some(({ kind }) => kind === 'set-aside')
  if (!head && !begunAnew && (known || !(await isEmpty(store)))) {
    damage.push({
      kind: 'head-lost',
      detail: 'the head record is gone; the events were counted',
      lost: 0,
      unsureMax: null,
    })
  }
  const short = head && tailLost(head, known)
  if (short !== undefined) damage.push({ kind: 'tail-lost', detail: short, lost: 0, unsureMax: null })
  if (certain) for (const one of damage) one.unsureMax = 0
  if (damage.length > 0) {
    const remembers = begunAnew ? undefined : (head ?? known)?.generation
    const endsAt = short === undefined ? undefined : head?.position
    return recovered(store, identity, {
      known,
      endsAt,
      remembers,
      undelivered: ranges.readable,
      gone,
      damage,
    })
  }
  // A failed write may have landed in the operating system's memory only. Whatever we find is on the disk before
  // anybody hears of it (G1), or it could be handed out, lost in a power cut, and its place given out again (I7).
  if (value !== undefined) await store.write([{ type: 'put', key: headKey, value }], { sync: true })
  const opened = {
    store,
    undelivered: ranges.readable,
    damage,
    devices: devices.readable,
    gone,
    operations: [],
    unreadable: [],
  }
  if (!head)
    return { ...opened, head: newHead(identity, 0), announcements: [], operations: [guard], clean: true }
  if (head.gateway === identity.gateway) return { ...opened, head, announcements: [], clean: head.clean }
  const renamed = { ...head, ...epochOf(newHead(identity, head.position)), earlier: epochsQueued(head) }
  return {
    ...opened,
    head: renamed,
    announcements: [closed(head.epoch, head.position - head.epochBase, 'renamed')],
    clean: head.clean,
  }
}

interface Found {
  /** The newest head there is word of. */
  known: Head | undefined
  /** Where the store's own head stands, if that is before it. */
  endsAt: number | undefined
  /** The generation of remembered IDs that was current in this store. */
  remembers: Head['generation'] | undefined
  undelivered: UndeliveredRange[]
  gone: Gone
  damage: Damage[]
}

/** Accounts for what is there and what is not, and goes on in a new epoch (I7). */
async function recovered(store: Store, identity: Identity, found: Found): Promise<Loaded> {
  const { known, endsAt, remembers, undelivered, gone, damage } = found
  const suspicious = damage.some(({ kind }) => kind === 'ranges-altered')
  const counted = await recount(store, { known, endsAt, undelivered, suspicious })
  if (counted.lost > 0) {
    const detail = `${counted.lost} events are missing`
    damage.push({ kind: 'count-mismatch', detail, lost: counted.lost, unsureMax: 0 })
  }
  const base = Math.max(counted.last, known?.position ?? 0)
  const fresh = newHead(identity, base)
  const { first } = counted.totals
  const lowest = Math.min(first.high, first.normal)
  return {
    store,
    head: {
      ...fresh,
      ...counted.totals,
      earlier: counted.epochs.filter((_, at) => (counted.epochs[at + 1]?.epochBase ?? base) >= lowest),
      steadyMs: known?.steadyMs ?? 0,
      wallMs: known?.wallMs ?? 0,
      credits: known?.credits ?? [],
      undatedFrom: known?.undatedFrom ?? null,
      signed: known?.signed ?? null,
      generation: remembers ?? fresh.generation,
    },
    devices: counted.devices,
    gone,
    undelivered: [...undelivered, ...counted.missing],
    damage,
    announcements: counted.epochs
      .map(({ epoch, epochBase }, at) => ({
        epoch,
        epochBase,
        end: counted.epochs[at + 1]?.epochBase ?? base,
      }))
      .filter(({ epochBase }) => epochBase >= (known?.epochBase ?? 0))
      .map(({ epoch, epochBase, end }) => closed(epoch, end - epochBase, 'corruption')),
    operations: [
      guard,
      ...gone.altered.map((key): StoreOperation => ({ type: 'del', key })),
      ...counted.operations,
    ],
    unreadable: counted.unreadable,
    clean: true,
  }
}

/** Earlier versions wrote the guard before the first head. */
async function isEmpty(store: Store): Promise<boolean> {
  return (await store.entries({ gte: '', lt: '~' }, 2)).every(([key]) => key === laneGuard)
}

function epochOf({ gateway, epoch, epochBase, position, chain }: Head): Partial<Head> {
  return { gateway, epoch, epochBase, position, chain }
}

/** A head's own epoch and those before it of which something may still be queued. */
function epochsQueued(head: Head): Head['earlier'] {
  const lowest = Math.min(head.first.high, head.first.normal)
  const epochs = [...head.earlier, { epoch: head.epoch, epochBase: head.epochBase }]
  return epochs.filter((_, index) => (epochs[index + 1]?.epochBase ?? Infinity) >= lowest)
}

function closed(epoch: string, lastSequence: number, reason: 'corruption' | 'renamed'): LedgerEntry {
  return { kind: 'epoch-closed', epoch, lastSequence, reason }
}
