import { cp, stat } from 'node:fs/promises'
import { join } from 'node:path'
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
import { type Door, readDoor } from './outbox-door.ts'
import { writeFilter } from './outbox-filter.ts'
import type { Store } from './store.ts'
import { levelFolder } from './store-level.ts'

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
  inspect(devicesMax: number): Promise<QueueReport>
  verify(): Promise<Verification>
  export(filter: ExportFilter): AsyncIterable<string>
  close(): Promise<void>
}

export interface QueueOptions {
  dataDir: string
  clock: Clock
}

/**
 * Opens the queue in a data folder, itself where no gateway runs, through the gateway where one does.
 * @throws TidegateError `OUTBOX_ABSENT`, `OUTBOX_LOCKED`, `GATEWAY_UNREACHABLE`, `STORE_CORRUPT`
 */
export async function openQueue({ dataDir, clock }: QueueOptions): Promise<Queue> {
  const folder = levelFolder({ folder: await existing(dataDir), reserveBytes: 0, clock })
  let store: Store
  try {
    store = await folder.open()
  } catch (error) {
    const door = codeOf(error) === 'OUTBOX_LOCKED' ? await readDoor(dataDir) : undefined
    if (!door) throw error
    return behindDoor(door)
  }
  return {
    running: false,
    inspect: async (devicesMax) => ({
      ...(await inspect(store, devicesMax)),
      diskBytes: await folder.usedBytes(),
    }),
    verify: () => verify(store),
    export: (filter) => exportTexts(store, filter),
    close: () => store.close(),
  }
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
  const { dataDir, clock, gateway, random } = options
  const place = await existing(dataDir)
  const folder = levelFolder({ folder: place, reserveBytes: 0, clock })
  await refuseWhileRunning(folder)
  const backup = options.backup
    ? `${place}.backup-${new Date(clock.now()).toISOString().replaceAll(':', '')}`
    : undefined
  if (backup !== undefined) await cp(place, backup, { recursive: true })
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

async function refuseWhileRunning(folder: ReturnType<typeof levelFolder>): Promise<void> {
  try {
    await (await folder.open()).close()
  } catch (error) {
    if (codeOf(error) !== 'STORE_CORRUPT') throw error
  }
}

function findingOf(line: string): Repair['findings'] {
  const { kind, detail, lost } = JSON.parse(line) as Record<string, unknown>
  return typeof kind === 'string' ? [{ kind, detail: String(detail), lost: Number(lost) }] : []
}

async function existing(dataDir: string): Promise<string> {
  const place = join(dataDir, 'outbox')
  try {
    if ((await stat(join(place, 'db'))).isDirectory()) return place
  } catch {
    // said below
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
