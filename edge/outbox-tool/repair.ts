import { cp, rename, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pino } from 'pino'
import type { Random } from '../../src/clock.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { silentOutboxObserver } from '../outbox/observer.ts'
import { refuseNewer } from '../outbox/look/open-copy.ts'
import { openOutbox } from '../outbox/open.ts'
import { inUse, storeIn, untouchable } from './place.ts'
import { openQueue } from './open-queue.ts'
import type { QueueOptions } from './queue.ts'
import { besides, type Scratch } from '../store/leveldb/scratch.ts'
import { levelFolder } from '../store/store-level.ts'
import { whileNobodyHas } from '../store/leveldb/lock-level.ts'

export interface Repair {
  /** false: nothing is wrong with it, and nothing was done; a repair ends an epoch. */
  needed: boolean
  /** Where the copy lies that was made before anything was touched; undefined: none was asked for. */
  backup: string | undefined
  /** What was found, as the gateway's log would say it. */
  findings: { kind: string; detail: string; lost: number; unsureMax: number | null }[]
  /** Acknowledged events that are gone. */
  lost: number
  /** So many more may be, at the most: 0 is knowledge, null that nothing bounds it. */
  unsureMax: number | null
  queued: number
}

export interface RepairOptions extends QueueOptions {
  /** Of whom the queue is. */
  gateway: string
  /** Who repairs; undefined: the system knows no users. */
  userId: number | undefined
  backup: boolean
  random: Random
}

/**
 * Repairs the queue of a stopped gateway: keeps what can be read, counts what cannot, and puts the account on record
 * for the cloud. The gateway does the same by itself when it starts; this is for looking before that.
 * @throws TidegateError `OUTBOX_ABSENT`, `OUTBOX_LOCKED`, `OUTBOX_COPY_FAILED`, `STORE_UNAVAILABLE`, `STORE_NEWER`, `OPTIONS_INVALID`
 */
export async function repairQueue(options: RepairOptions): Promise<Repair> {
  const { dataDir, clock, gateway, random, scratch } = options
  const location = await storeIn(dataDir)
  if (basename(location) !== 'db') throw setAside(location)
  const place = dirname(location)
  await refuseForeignUser(place, options.userId)
  const folder = levelFolder({ folder: place, reserveBytes: 0, clock })
  await refuseNewer(folder)
  const sound = await soundEvents(location, options)
  if (sound !== undefined)
    return { needed: false, backup: undefined, findings: [], lost: 0, unsureMax: 0, queued: sound }
  const backup = options.backup
    ? `${place}.backup-${new Date(clock.now()).toISOString().replaceAll(':', '')}`
    : undefined
  try {
    await whileNobodyHas(location, scratch, async () => {
      if (backup !== undefined) await copyWhole(place, backup, scratch)
    })
  } catch (error) {
    throw untouchable(location, error)
  }
  await folder.repair('an operator asked for it').catch((error: unknown) => {
    // Beyond repair: opening sets it aside whole and says so.
    if (codeOf(error) !== 'STORE_CORRUPT') throw error
  })
  const findings: Repair['findings'] = []
  let lost = 0
  const log = pino({ level: 'error' }, { write: (line: string) => findings.push(...findingOf(line)) })
  const observer = { ...silentOutboxObserver, lost: (count: number) => (lost += count) }
  const outbox = await openOutbox({ folder, gateway, clock, random, log, observer })
  const { depth } = outbox.stats()
  await outbox.close()
  const unsureMax = findings.reduce<number | null>(
    (sum, finding) => (sum === null || finding.unsureMax === null ? null : sum + finding.unsureMax),
    0,
  )
  return { needed: true, backup, findings, lost, unsureMax, queued: depth.high + depth.normal }
}

/** What a repair writes must be the gateway's to write to. */
async function refuseForeignUser(place: string, userId: number | undefined): Promise<void> {
  const { uid } = await stat(place)
  if (userId === undefined || userId === uid) return
  throw new TidegateError('OPTIONS_INVALID', {
    message: `${place} belongs to user ${uid}: of what user ${userId} writes there its gateway could make no use`,
    retryable: false,
    hint: `repair it as that user: sudo -u '#${uid}' …`,
  })
}

/** How many events there are; undefined: something is wrong. */
async function soundEvents(location: string, options: QueueOptions): Promise<number | undefined> {
  try {
    const queue = await openQueue({ ...options, thorough: true })
    try {
      if (queue.running) throw inUse(location)
      const { events, faults } = await queue.verify()
      return faults.length === 0 ? events : undefined
    } finally {
      await queue.close()
    }
  } catch (error) {
    if (['STORE_CORRUPT', 'OUTBOX_HEADLESS'].includes(codeOf(error))) return undefined
    throw error
  }
}

/** What bears its name is whole. */
async function copyWhole(place: string, backup: string, scratch: Scratch): Promise<void> {
  const part = await scratch.make(`${backup}.part-`)
  try {
    await cp(place, part, { recursive: true, filter: (path) => !path.startsWith(besides(join(place, 'db'))) })
    await rename(part, backup)
  } finally {
    await scratch.remove(part)
  }
}

function findingOf(line: string): Repair['findings'] {
  const { kind, detail, lost, unsureMax } = JSON.parse(line) as Record<string, unknown>
  if (typeof kind !== 'string') return []
  return [
    {
      kind,
      detail: String(detail),
      lost: Number(lost),
      unsureMax: unsureMax === null ? null : Number(unsureMax),
    },
  ]
}

function setAside(location: string): TidegateError {
  return new TidegateError('OPTIONS_INVALID', {
    message: `${location} is not a gateway’s outbox but a store that was set aside`,
    retryable: false,
    hint: 'what can be read of it: tidegate outbox export; what it held has been told the cloud as lost',
  })
}
