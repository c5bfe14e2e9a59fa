import { cp, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pino } from 'pino'
import type { Clock, Random } from '../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../src/errors.ts'
import { silentOutboxObserver } from './observers.ts'
import { openOutbox } from './outbox/open.ts'
import {
  type ExportFilter,
  exportTexts,
  type Inspection,
  inspect,
  type Verification,
  verify,
} from './outbox/inspection.ts'
import { type Look, lookInto } from './outbox/look.ts'
import { type Door, readDoor } from './outbox-door.ts'
import { writeFilter } from './outbox-filter.ts'
import type { Scratch } from './scratch.ts'
import { levelFolder } from './store-level.ts'
import { copyBeside, removeLeftCopies } from './store-level-copy.ts'
import { corrupt } from './store-level-errors.ts'
import { whileNobodyHas } from './store-lock-level.ts'

/** What `inspect` tells; the last three only of a gateway that is running. */
export interface QueueReport extends Inspection {
  diskBytes: number
  inFlight?: number
  waiting?: number
  refusing?: string
}

/** A gateway's queue, at rest or at work. */
export interface Queue {
  readonly running: boolean
  /** What is wrong with it as a whole; what is told of it then is told of a repaired copy. */
  readonly findings: readonly string[]
  inspect(devicesMax: number): Promise<QueueReport>
  verify(): Promise<Verification>
  export(filter: ExportFilter): AsyncIterable<string>
  close(): Promise<void>
}

export interface QueueOptions {
  dataDir: string
  clock: Clock
  scratch: Scratch
}

/**
 * Opens the queue in a data folder: through the gateway where one runs, else in a private copy, because LevelDB
 * changes what it opens, and with it the evidence of what happened to it. With `thorough` every block of it is
 * checked first.
 * @throws TidegateError `OUTBOX_ABSENT`, `OUTBOX_LOCKED`, `OUTBOX_COPY_FAILED`, `GATEWAY_UNREACHABLE`, `STORE_CORRUPT`
 */
export async function openQueue(options: QueueOptions & { thorough: boolean }): Promise<Queue> {
  const { dataDir, clock, scratch } = options
  const location = await existing(dataDir)
  let look: Look & { folder: string }
  try {
    look = await whileNobodyHas(location, scratch, () => copyAndOpen(location, options))
  } catch (error) {
    if (codeOf(error) !== 'OUTBOX_LOCKED') throw told(error, location)
    const door = await readDoor(dataDir)
    if (!door) throw error
    return behindDoor(door)
  }
  const { store, findings, folder } = look
  const original = levelFolder({ folder: dirname(location), reserveBytes: 0, clock })
  return {
    running: false,
    findings,
    inspect: async (devicesMax) => ({
      ...(await inspect(store, devicesMax)),
      diskBytes: await original.usedBytes(),
    }),
    async verify() {
      const { events, faults } = await verify(store)
      return { events, faults: [...findings, ...faults] }
    },
    export: (filter) => exportTexts(store, filter),
    async close() {
      await store.close()
      await scratch.remove(folder)
    },
  }
}

async function copyAndOpen(
  location: string,
  { clock, scratch, thorough }: QueueOptions & { thorough: boolean },
): Promise<Look & { folder: string }> {
  await removeLeftCopies(dirname(location))
  const folder = await copyBeside(location, scratch)
  const copy = levelFolder({ folder, reserveBytes: 0, clock, checkTables: thorough })
  try {
    const { store, findings } = await lookInto(copy)
    return { store, findings: findings.map((finding) => ofOriginal(finding, folder, location)), folder }
  } catch (error) {
    await scratch.remove(folder)
    if (codeOf(error) !== 'STORE_CORRUPT') throw error
    throw corrupt(
      location,
      `even a copy that was repaired: ${ofOriginal(messageOf(error), folder, location)}`,
    )
  }
}

/** To whoever reads it the copy is the original. */
function ofOriginal(text: string, folder: string, location: string): string {
  return text.replaceAll(join(folder, 'db'), location)
}

/** What keeps a copy of the store from being made, or being opened. */
function told(error: unknown, location: string): TidegateError {
  if (error instanceof TidegateError && error.code !== 'STORE_UNAVAILABLE') return error
  const cause = error instanceof TidegateError ? error.cause : error
  return new TidegateError('OUTBOX_COPY_FAILED', {
    message: `the outbox ${location} cannot be locked and copied: ${messageOf(cause)}`,
    retryable: false,
    hint: /permi/.test(messageOf(cause))
      ? 'ask as the user the gateway runs as, or as root'
      : 'see that its disk can be written and has room (32 MiB, to repair as much as it holds), or copy the data folder to one that has and name that with --data-dir',
    cause,
  })
}

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
  const location = await existing(dataDir)
  const place = dirname(location)
  const backup = options.backup
    ? `${place}.backup-${new Date(clock.now()).toISOString().replaceAll(':', '')}`
    : undefined
  try {
    await whileNobodyHas(location, scratch, async () => {
      if (backup !== undefined) await copyWhole(place, backup)
    })
  } catch (error) {
    throw told(error, location)
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

/** The LevelDB in a data folder. */
async function existing(dataDir: string): Promise<string> {
  const location = join(dataDir, 'outbox', 'db')
  try {
    if ((await stat(location)).isDirectory()) return location
  } catch (cause) {
    if (!['ENOENT', 'ENOTDIR'].includes(codeOf(cause))) throw told(cause, location)
  }
  throw new TidegateError('OUTBOX_ABSENT', {
    message: `there is no outbox in ${dataDir}`,
    retryable: false,
    hint: 'name the gateway’s data folder (--data-dir) or its configuration (--config)',
  })
}

function behindDoor(door: Door): Queue {
  const ask = async (path: string): Promise<Response> => {
    const headers = { authorization: `Bearer ${door.token}` }
    try {
      const response = await fetch(`${door.url}${path}`, { headers })
      if (!response.ok) throw new Error(`it answered ${response.status}`)
      return response
    } catch (cause) {
      throw new TidegateError('GATEWAY_UNREACHABLE', {
        message: `the gateway that has this outbox open does not answer at ${door.url}: ${messageOf(cause)}`,
        retryable: true,
        hint: 'try again, or stop the gateway and ask the folder itself',
        cause,
      })
    }
  }
  return {
    running: true,
    findings: [],
    inspect: async (devicesMax) =>
      (await (await ask(`/outbox/inspect?devices=${devicesMax}`)).json()) as QueueReport,
    verify: async () => (await (await ask('/outbox/verify')).json()) as Verification,
    async *export(filter) {
      const { body } = await ask(`/outbox/export?${writeFilter(filter).toString()}`)
      if (!body) return
      let rest = ''
      for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
        const parts = (rest + chunk).split('\n')
        rest = parts.pop() ?? ''
        yield* parts
      }
    },
    close: async () => {},
  }
}
