import { cp, rename, rm } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { pino } from 'pino'
import type { Random } from '../src/clock.ts'
import { codeOf, TidegateError } from '../src/errors.ts'
import { silentOutboxObserver } from './observers.ts'
import { openOutbox } from './outbox/open.ts'
import { storeIn, untouchable } from './outbox-place.ts'
import type { QueueOptions } from './outbox-tool.ts'
import { levelFolder } from './store-level.ts'
import { whileNobodyHas } from './store-lock-level.ts'

export interface Repair {
  /** Where the copy lies that was made before anything was touched; undefined: none was asked for. */
  backup: string | undefined
  /** What was found, as the gateway's log would say it. */
  findings: { kind: string; detail: string; lost: number }[]
  lost: number
  queued: number
}

export interface RepairOptions extends QueueOptions {
  /** Of whom the queue is. */
  gateway: string
  backup: boolean
  random: Random
}

/**
 * Repairs the queue of a stopped gateway: keeps what can be read, counts what cannot, and puts the account on record
 * for the cloud. The gateway does the same by itself when it starts; this is for looking before that.
 * @throws TidegateError `OUTBOX_ABSENT`, `OUTBOX_LOCKED`, `STORE_UNAVAILABLE`
 */
export async function repairQueue(options: RepairOptions): Promise<Repair> {
  const { dataDir, clock, gateway, random, scratch } = options
  const location = await storeIn(dataDir)
  if (basename(location) !== 'db') throw setAside(location)
  const place = dirname(location)
  const backup = options.backup
    ? `${place}.backup-${new Date(clock.now()).toISOString().replaceAll(':', '')}`
    : undefined
  try {
    await whileNobodyHas(location, scratch, async () => {
      if (backup !== undefined) await copyWhole(place, backup)
    })
  } catch (error) {
    throw untouchable(location, error)
  }
  const folder = levelFolder({ folder: place, reserveBytes: 0, clock })
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
  return { backup, findings, lost, queued: depth.high + depth.normal }
}

/** What bears its name is whole. */
async function copyWhole(place: string, backup: string): Promise<void> {
  const part = `${backup}.part`
  try {
    await cp(place, part, { recursive: true })
    await rename(part, backup)
  } catch (error) {
    await rm(part, { recursive: true, force: true })
    throw error
  }
}

function findingOf(line: string): Repair['findings'] {
  const { kind, detail, lost } = JSON.parse(line) as Record<string, unknown>
  return typeof kind === 'string' ? [{ kind, detail: String(detail), lost: Number(lost) }] : []
}

function setAside(location: string): TidegateError {
  return new TidegateError('OPTIONS_INVALID', {
    message: `${location} is not a gateway’s outbox but a store that was set aside`,
    retryable: false,
    hint: 'what can be read of it: tidegate outbox export; what it held has been told the cloud as lost',
  })
}
