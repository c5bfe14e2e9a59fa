import { awaitedCodes } from '../../../cloud/letters/story.ts'
import type {
  Among,
  Occupancy,
  Parking,
  ParkedHead,
  Released,
  Trial,
  Waiting,
  Which,
} from '../../../cloud/parking/parking.ts'

export interface ParkedDevice extends Trial {
  group: string
  device: string
  sinceMs: number
  nextAtMs: number
  skip: string | undefined
  recovering: boolean
  hung: boolean
  deeds: number
  overflowed: boolean
  claim: string | undefined
  claimedUntilMs: number
}

export type WaitingEvent = ParkedHead & { group: string }

/** What is committed, of both tables. */
export interface ParkingTables {
  /** By group and device. */
  readonly parkedDevices: Map<string, ParkedDevice>
  /** By number. */
  readonly parkedEvents: Map<number, WaitingEvent>
  /** Numbers are given out whether or not they are committed. */
  lastParked: number
}

/** How a transaction locks a row, as PostgreSQL does: `share` for key share, `work` for no key update, `whole` for update. */
export type LockMode = 'share' | 'work' | 'whole'

/** Who takes a lock while another has one. */
const conflicts: Readonly<Record<LockMode, readonly LockMode[]>> = {
  share: ['whole'],
  work: ['work', 'whole'],
  whole: ['share', 'work', 'whole'],
}

/** Locks of rows and keys; whoever has them gives them up at its end. */
export class RowLocks {
  readonly #held = new Map<string, { holder: object; mode: LockMode; freed: Promise<void> }[]>()

  /** What is to end before it can be had; undefined: it is had now. */
  take(key: string, holder: object, mode: LockMode, freed: Promise<void>): Promise<void> | undefined {
    const held = this.#held.get(key) ?? []
    const rival = held.find((one) => one.holder !== holder && conflicts[mode].includes(one.mode))
    if (rival) return rival.freed
    this.#held.set(key, [...held, { holder, mode, freed }])
    return undefined
  }

  free(holder: object): void {
    for (const [key, held] of this.#held) {
      const left = held.filter((one) => one.holder !== holder)
      if (left.length === 0) this.#held.delete(key)
      else this.#held.set(key, left)
    }
  }
}

/** What the parking needs of a transaction in memory. */
export interface ParkingTransaction {
  readonly tables: ParkingTables
  nowMs(): number
  /** A statement is on its way; it may fail. */
  step(what: string): Promise<void>
  /** Waits until it has it. */
  lock(key: string, mode: LockMode): Promise<void>
  /** Whether it has it, without waiting. */
  tryLock(key: string, mode: LockMode): boolean
  /** Takes effect at the commit. */
  stage(apply: () => void): void
}

/** The parking in memory; a transaction sees what is committed, and not what it did itself. */
export function memoryParking(tx: ParkingTransaction): Parking {
  const { tables } = tx
  const { parkedDevices: devices, parkedEvents: events } = tables

  function change(key: string, more: Partial<ParkedDevice>): void {
    tx.stage(() => {
      const row = devices.get(key)
      if (row) devices.set(key, { ...row, ...more })
    })
  }

  /** As an update that waits for its row, and looks at it again then. */
  async function locked(key: string, mode: LockMode): Promise<ParkedDevice | undefined> {
    if (!devices.has(key)) return undefined
    await tx.lock(`device ${key}`, mode)
    return devices.get(key)
  }

  const eventsOf = (group: string, device: string): WaitingEvent[] =>
    [...events.values()]
      .filter((one) => one.group === group && one.device === device)
      .toSorted((a, b) => Number(a.n) - Number(b.n))

  function changed(
    group: string,
    { device, code, retrying = false }: Which,
    more: (row: ParkedDevice) => object,
    attemptMin = 1,
  ): Released {
    const asked = [...devices.values()]
      .filter((one) => one.group === group && one.attempt >= attemptMin)
      .filter((one) => (device ?? one.device) === one.device && (code ?? one.code) === one.code)
      .filter(({ state }) => !retrying || state === 'retrying')
    const free = asked.filter((one) => tx.tryLock(`device ${keyOf(group, one.device)}`, 'work'))
    for (const one of free)
      change(keyOf(group, one.device), {
        state: 'retrying',
        nextAtMs: tx.nowMs(),
        deeds: one.deeds + 1,
        ...more(one),
      })
    return { devices: free.length, working: asked.length - free.length }
  }

  return {
    async parked(group, asked) {
      await tx.step('parked')
      const parked = new Map<string, Waiting>()
      for (const device of asked) {
        const row = await locked(keyOf(group, device), 'share')
        const waiting = eventsOf(group, device).length
        if (row === undefined) continue
        const failing = row.state === 'retrying' && row.code !== ''
        const waitsOnly = row.code === '' || awaitedCodes.includes(row.code)
        parked.set(device, { events: waiting, overflowed: row.overflowed, failing, waitsOnly })
      }
      return parked
    },
    async park(group, device, trial) {
      await tx.step('park')
      const key = keyOf(group, device)
      await tx.lock(`new device ${key}`, 'whole')
      if (await locked(key, 'share')) return
      const nowMs = tx.nowMs()
      const none = {
        skip: undefined,
        claim: undefined,
        claimedUntilMs: 0,
        recovering: false,
        deeds: 0,
        overflowed: false,
      }
      const hung = trial.code === hangs
      const times = { sinceMs: nowMs, nextAtMs: nowMs + trial.delayMs }
      tx.stage(() => devices.set(key, { group, device, ...trial, ...times, ...none, hung }))
    },
    async add(group, given) {
      await tx.step('add')
      const numbers = given.map(() => (tables.lastParked += 1))
      const added = new Set<string>()
      for (const [index, event] of given.entries()) {
        const key = `${group} ${event.key.toString('hex')}`
        await tx.lock(`event ${key}`, 'whole')
        const isThere = [...events.values()].some((one) => one.group === group && one.key.equals(event.key))
        if (isThere || added.has(key)) continue
        added.add(key)
        const n = numbers[index] as number
        tx.stage(() => events.set(n, { ...event, group, n: String(n) }))
      }
    },
    async overflow(group, given) {
      await tx.step('overflow')
      for (const device of given) change(keyOf(group, device), { overflowed: true })
    },
    async claim(group, token, leaseMs, among) {
      await tx.step('claim')
      const nowMs = tx.nowMs()
      const due = [...devices.values()]
        .filter((one) => one.group === group && one.state === 'retrying' && one.nextAtMs <= nowMs)
        .filter((one) => one.claim === undefined || one.claimedUntilMs <= nowMs)
        .filter((one) => wanted[among](one))
        .toSorted((a, b) => a.nextAtMs - b.nextAtMs)
        .find(({ device }) => tx.tryLock(`device ${keyOf(group, device)}`, 'work'))
      if (due === undefined) return undefined
      change(keyOf(group, due.device), { claim: token, claimedUntilMs: nowMs + leaseMs })
      const { device, recovering, hung, deeds, skip, code, message } = due
      return { device, recovering, hung, deeds, skip, code, message }
    },
    async keep(group, device, token, leaseMs) {
      await tx.step('keep')
      const row = await locked(keyOf(group, device), 'work')
      if (row?.claim !== token) return undefined
      change(keyOf(group, device), { claimedUntilMs: tx.nowMs() + leaseMs })
      return row.deeds
    },
    async heads(group, device, countMax) {
      await tx.step('heads')
      return eventsOf(group, device).slice(0, countMax)
    },
    async remove(_group, _device, places) {
      await tx.step('remove')
      const there = places.map(Number).filter((n) => events.has(n))
      for (const n of there) tx.stage(() => events.delete(n))
      return there.length
    },
    async moveOn(group, device, { recovering, hung }) {
      await tx.step('move on')
      tx.stage(() => {
        const row = devices.get(keyOf(group, device))
        const [next] = eventsOf(group, device)
        const isLeft = Number(next?.n ?? 0) <= Number(row?.skip ?? -1)
        const more = { attempt: 1, recovering, code: '', message: '', skip: isLeft ? row?.skip : undefined }
        if (row) devices.set(keyOf(group, device), { ...row, ...more, hung: row.hung || hung })
      })
    },
    async setBack(group, device, n, trial, headers) {
      await tx.step('set back')
      const key = keyOf(group, device)
      const hung = devices.get(key)?.hung === true || trial.code === hangs
      change(key, { ...trial, hung, nextAtMs: tx.nowMs() + trial.delayMs, ...noClaim })
      tx.stage(() => {
        const event = events.get(Number(n))
        if (event) events.set(Number(n), { ...event, headers })
      })
    },
    async giveUp(group, device, token, delayMs, hung = false) {
      await tx.step('give up')
      const row = await locked(keyOf(group, device), 'work')
      if (row?.claim !== token) return
      const more = { nextAtMs: tx.nowMs() + delayMs, ...(hung && { hung }) }
      change(keyOf(group, device), { ...noClaim, ...more })
    },
    async lock(group, device, token) {
      await tx.step('lock')
      const key = keyOf(group, device)
      return devices.has(key) && tx.tryLock(`device ${key}`, 'whole') && devices.get(key)?.claim === token
    },
    async unpark(group, device) {
      await tx.step('unpark')
      tx.stage(() => devices.delete(keyOf(group, device)))
    },
    async release(group, which) {
      await tx.step('release')
      return changed(group, which, () => ({}))
    },
    async skip(group, which, what) {
      await tx.step('skip')
      const isFirst = what === 'first'
      const skippedTo = ({ device }: ParkedDevice): string | undefined =>
        eventsOf(group, device).at(isFirst ? 0 : -1)?.n
      return changed(group, which, (row) => ({ skip: skippedTo(row) }), isFirst ? 2 : 1)
    },
    async occupancy(group) {
      await tx.step('occupancy')
      return occupancyOf(tables, group, tx.nowMs())
    },
  }
}

const hangs = 'HANDLER_TIMEOUT'

const wanted: Readonly<Record<Among, (row: ParkedDevice) => boolean>> = {
  all: () => true,
  first: ({ attempt, hung }) => attempt <= 2 && !hung,
  skipped: ({ skip }) => skip !== undefined,
}

const noClaim = { claim: undefined, claimedUntilMs: 0 }

function occupancyOf(
  { parkedDevices, parkedEvents }: ParkingTables,
  group: string,
  nowMs: number,
): Occupancy {
  const devices = [...parkedDevices.values()].filter((one) => one.group === group)
  const held = devices.filter(({ state }) => state === 'held').length
  return {
    retrying: devices.length - held,
    held,
    awaiting: devices.filter(({ state, code }) => state === 'retrying' && awaitedCodes.includes(code)).length,
    events: [...parkedEvents.values()].filter((one) => one.group === group).length,
    oldestMs: Math.max(0, ...devices.map(({ sinceMs }) => nowMs - sinceMs)),
  }
}

function keyOf(group: string, device: string): string {
  return `${group} ${device}`
}
