import { bothLanes } from '../outbox.ts'
import type { Store, StoreOperation } from '../../store/store.ts'
import type { Head } from '../layout/head.ts'
import { damagedKey, deviceKey } from '../layout/keys.ts'
import { queued } from '../layout/queued.ts'
import { countedDevices, encodeUsage, type Usage } from '../layout/usage.ts'
import { decodeRecord, type Slot, type StoredEvent } from '../layout/record.ts'
import type { UndeliveredRange } from '../rules/undelivered.ts'

export interface Recount {
  totals: Pick<Head, 'depth' | 'bytes' | 'first'>
  devices: Map<string, Usage>
  /** Highest position found; 0 if none. */
  last: number
  /** Events that `known` counted and the store does not hold; what it cannot read is not held. */
  lost: number
  /** Every position that may have been queued, is not, and is not accounted for. */
  missing: UndeliveredRange[]
  /** Every epoch that is known or that a queued event names, oldest first. */
  epochs: { epoch: string; epochBase: number }[]
  /** Records that cannot be read: they are set aside by the operations, and leave their blocks. */
  unreadable: Slot[]
  /** Sets records aside that cannot be read, and puts the devices' counts right. */
  operations: StoreOperation[]
}

export interface RecountOptions {
  /** The newest head there is word of. */
  known: Head | undefined
  undelivered: readonly UndeliveredRange[]
  /** Name what is missing even if no count is short. */
  suspicious?: boolean
  /** The store's own head stands here, before the place that is known: the writes behind it are lost. */
  endsAt?: number | undefined
}

/**
 * Counts what is really there. Reads every queued event once, in flat memory: only after damage, or when a count
 * does not add up.
 *
 * What is missing is named too generously, never too narrowly: an event that was delivered out of order just
 * before is named too, and in the cloud what is present counts as present.
 */
export async function recount(store: Store, options: RecountOptions): Promise<Recount> {
  const { known, undelivered, endsAt } = options
  const suspicious = options.suspicious === true || endsAt !== undefined
  const count = new Count(known, endsAt)
  const unreadable: Slot[] = []
  const aside: StoreOperation[] = []
  for await (const entry of queued(store)) {
    let event
    try {
      event = decodeRecord(entry)
    } catch {
      const { lane, position, value, block, slot } = entry
      aside.push({ type: 'put', key: damagedKey(lane, position), value })
      unreadable.push({ block, slot })
      continue
    }
    count.add(event)
  }
  count.end()
  const { totals, devices, last, lost, holes } = count
  const named = lost > 0 || count.ghosts > 0 || suspicious ? holes : []
  const epochs = [...count.epochs].map(([epochBase, epoch]) => ({ epoch, epochBase })).toSorted(byBase)
  return {
    totals,
    devices,
    last,
    lost,
    missing: named.flatMap((hole) => except(hole, undelivered)).flatMap((hole) => byEpoch(hole, epochs)),
    epochs,
    unreadable,
    operations: [...aside, ...(await correctDevices(store, devices))],
  }
}

/** The events that can be read, counted one by one in the order of their positions. */
class Count {
  readonly totals: Recount['totals'] = {
    depth: { high: 0, normal: 0 },
    bytes: { high: 0, normal: 0 },
    first: { high: 0, normal: 0 },
  }
  readonly devices = new Map<string, Usage>()
  /** Name of each epoch, by its base. */
  readonly epochs: Map<number, string>
  readonly holes: Hole[] = []
  last = 0
  /** Below the first position that can be queued lies only what was released, and came back with an old table. */
  ghosts = 0
  readonly #known: Head | undefined
  readonly #endsAt: number | undefined
  #next: number
  #found = 0
  #foundBehind = 0

  constructor(known: Head | undefined, endsAt: number | undefined) {
    this.#known = known
    this.#endsAt = endsAt
    this.#next = known ? Math.min(known.first.high, known.first.normal) : 0
    this.epochs = new Map((known?.earlier ?? []).map(({ epoch, epochBase }) => [epochBase, epoch]))
    if (known) this.epochs.set(known.epochBase, known.epoch)
  }

  get lost(): number {
    if (!this.#known) return 0
    const { depth, position } = this.#known
    const waiting = depth.high + depth.normal
    // What had left in the writes that are lost is back, and must not make up in number for what came in them.
    const endsAt = this.#endsAt ?? position
    return Math.max(0, waiting - this.#found, Math.min(waiting, position - endsAt - this.#foundBehind))
  }

  add({ lane, position, deviceId, bytes, sequence, text }: StoredEvent): void {
    const { depth, bytes: bytesOf, first } = this.totals
    if (first[lane] === 0) first[lane] = position
    depth[lane] += 1
    bytesOf[lane] += bytes
    const usage = this.devices.get(deviceId) ?? { events: 0, bytes: 0 }
    this.devices.set(deviceId, { events: usage.events + 1, bytes: usage.bytes + bytes })
    const epochBase = position - sequence
    if (!this.epochs.has(epochBase)) this.epochs.set(epochBase, (JSON.parse(text) as { epoch: string }).epoch)
    const known = this.#known
    if (known && position < known.first[lane]) this.ghosts += 1
    else if (!known || position <= known.position) this.#found += 1
    if (known && position <= known.position && position > (this.#endsAt ?? position)) this.#foundBehind += 1
    if (this.#next > 0 && position > this.#next) this.holes.push({ from: this.#next, to: position - 1 })
    this.#next = Math.max(this.#next, position + 1)
    this.last = Math.max(this.last, position)
  }

  /** All were added: what is missing behind the last one, and where a lane begins that is empty. */
  end(): void {
    const base = Math.max(this.last, this.#known?.position ?? 0)
    if (this.#next > 0 && this.#next <= base) this.holes.push({ from: this.#next, to: base })
    for (const lane of bothLanes) this.totals.first[lane] ||= base + 1
  }
}

async function correctDevices(store: Store, devices: ReadonlyMap<string, Usage>): Promise<StoreOperation[]> {
  const stale = (await countedDevices(store))
    .filter((deviceId) => !devices.has(deviceId))
    .map((deviceId): StoreOperation => ({ type: 'del', key: deviceKey(deviceId) }))
  const counted = [...devices].map(([deviceId, usage]): StoreOperation => ({
    type: 'put',
    key: deviceKey(deviceId),
    value: encodeUsage(usage),
  }))
  return [...stale, ...counted]
}

interface Hole {
  from: number
  to: number
}

function except(hole: Hole, accounted: readonly Hole[]): Hole[] {
  let rest = [hole]
  for (const { from, to } of accounted) {
    if (to < hole.from || from > hole.to) continue
    rest = rest.flatMap((part) =>
      [
        { from: part.from, to: Math.min(part.to, from - 1) },
        { from: Math.max(part.from, to + 1), to: part.to },
      ].filter((part) => part.from <= part.to),
    )
  }
  return rest
}

/** A hole in the terms of the ledger; positions of an epoch that nobody remembers cannot be named. */
function byEpoch({ from, to }: Hole, epochs: Recount['epochs']): UndeliveredRange[] {
  return epochs.flatMap(({ epoch, epochBase }, index): UndeliveredRange[] => {
    const end = epochs[index + 1]?.epochBase ?? Infinity
    const part = { from: Math.max(from, epochBase + 1), to: Math.min(to, end) }
    return part.from <= part.to ? [{ ...part, reason: 'lost', epoch, epochBase }] : []
  })
}

function byBase(a: { epochBase: number }, b: { epochBase: number }): number {
  return a.epochBase - b.epochBase
}
