import type { Occupancy, Parking, ParkedHead, Released, Trial } from '../../../cloud/parking/parking.ts'

export interface ParkedDevice extends Trial {
  group: string
  device: string
  sinceMs: number
  nextAtMs: number
  skip: string | undefined
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

  async function released(group: string, device: string, skip: string | undefined): Promise<Released> {
    await tx.step('release')
    const key = keyOf(group, device)
    if (!devices.has(key)) return 'absent'
    if (!tx.tryLock(`device ${key}`, 'work')) return 'working'
    change(key, { state: 'retrying', nextAtMs: tx.nowMs(), ...(skip !== undefined && { skip }) })
    return 'due'
  }

  return {
    async parked(group, asked) {
      await tx.step('parked')
      const parked = new Set<string>()
      for (const device of asked) if (await locked(keyOf(group, device), 'share')) parked.add(device)
      return parked
    },
    async park(group, device, trial) {
      await tx.step('park')
      const key = keyOf(group, device)
      await tx.lock(`new device ${key}`, 'whole')
      if (await locked(key, 'share')) return false
      const nowMs = tx.nowMs()
      const none = { skip: undefined, claim: undefined, claimedUntilMs: 0 }
      tx.stage(() => {
        devices.set(key, {
          group,
          device,
          ...trial,
          sinceMs: nowMs,
          nextAtMs: nowMs + trial.delayMs,
          ...none,
        })
      })
      return true
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
      return added.size
    },
    async claim(group, token, leaseMs) {
      await tx.step('claim')
      const nowMs = tx.nowMs()
      const due = [...devices.values()]
        .filter((one) => one.group === group && one.state === 'retrying' && one.nextAtMs <= nowMs)
        .filter((one) => one.claim === undefined || one.claimedUntilMs <= nowMs)
        .toSorted((a, b) => a.nextAtMs - b.nextAtMs)
        .find(({ device }) => tx.tryLock(`device ${keyOf(group, device)}`, 'work'))
      if (due) change(keyOf(group, due.device), { claim: token, claimedUntilMs: nowMs + leaseMs })
      return due?.device
    },
    async keep(group, device, token, leaseMs) {
      await tx.step('keep')
      const row = await locked(keyOf(group, device), 'work')
      if (row?.claim !== token) return undefined
      change(keyOf(group, device), { claimedUntilMs: tx.nowMs() + leaseMs })
      return { skip: row.skip, code: row.code, message: row.message }
    },
    async head(group, device) {
      await tx.step('head')
      return [...events.values()]
        .filter((one) => one.group === group && one.device === device)
        .toSorted((a, b) => Number(a.n) - Number(b.n))[0]
    },
    async remove(_group, _device, n) {
      await tx.step('remove')
      tx.stage(() => events.delete(Number(n)))
      return events.has(Number(n))
    },
    async setBack(group, device, n, trial, headers) {
      await tx.step('set back')
      const none = { skip: undefined, claim: undefined, claimedUntilMs: 0 }
      change(keyOf(group, device), { ...trial, nextAtMs: tx.nowMs() + trial.delayMs, ...none })
      tx.stage(() => {
        const event = events.get(Number(n))
        if (event) events.set(Number(n), { ...event, headers })
      })
    },
    async giveUp(group, device, token) {
      await tx.step('give up')
      const row = await locked(keyOf(group, device), 'work')
      if (row?.claim === token) change(keyOf(group, device), { claim: undefined, claimedUntilMs: 0 })
    },
    async lock(group, device, token) {
      await tx.step('lock')
      return (await locked(keyOf(group, device), 'whole'))?.claim === token
    },
    async unpark(group, device) {
      await tx.step('unpark')
      tx.stage(() => devices.delete(keyOf(group, device)))
    },
    release: (group, device) => released(group, device, undefined),
    skip: (group, device, n) => released(group, device, n),
    async occupancy(group) {
      await tx.step('occupancy')
      return occupancyOf(tables, group, tx.nowMs())
    },
  }
}

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
    events: [...parkedEvents.values()].filter((one) => one.group === group).length,
    oldestMs: Math.max(0, ...devices.map(({ sinceMs }) => nowMs - sinceMs)),
  }
}

function keyOf(group: string, device: string): string {
  return `${group} ${device}`
}
