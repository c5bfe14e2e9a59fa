import { randomBytes, timingSafeEqual } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../src/clock.ts'
import type { OpsAnswer, OpsRoute } from '../../src/ops-server.ts'
import type { OutboxStats } from '../outbox/outbox.ts'
import { type Exported, exportTexts } from '../outbox/look/export.ts'
import { find } from '../outbox/look/finding.ts'
import { inspect } from '../outbox/look/inspection.ts'
import type { Inspectable } from '../outbox/open.ts'
import { verify } from '../outbox/look/verification.ts'
import { inPieces, readFilter } from './export-filter.ts'

/**
 * How `tidegate outbox` gets at the queue of a gateway that is running: LevelDB lets only one process in, so the
 * gateway answers itself. Exports hold payloads: whoever asks must show the token that lies in the data folder, which
 * only those can read who could read the queue itself.
 */
export interface Door {
  /** Where the gateway's ops endpoint listens: `http://127.0.0.1:9101`. */
  url: string
  token: string
}

const doorFile = (dataDir: string): string => join(dataDir, 'ops-door.json')

/** Where this machine reaches an endpoint that listens on `host`. */
export function opsUrl(host: string, port: number): string {
  const near = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `http://${near.includes(':') ? `[${near}]` : near}:${port}`
}

export function newToken(): string {
  return randomBytes(24).toString('base64url')
}

export async function writeDoor(dataDir: string, door: Door): Promise<{ close(): Promise<void> }> {
  await writeFile(doorFile(dataDir), JSON.stringify(door), { mode: 0o600 })
  return { close: () => rm(doorFile(dataDir), { force: true }) }
}

/** undefined: no gateway has said that it runs here. */
export async function readDoor(dataDir: string): Promise<Door | undefined> {
  try {
    return JSON.parse(await readFile(doorFile(dataDir), 'utf8')) as Door
  } catch {
    return undefined
  }
}

export interface DoorOptions {
  outbox: () => Inspectable
  stats: () => OutboxStats
  /** Bytes of the store on disk. */
  usedBytes: () => Promise<number>
  token: string
  clock: Clock
}

/** The routes behind the door: `/outbox/inspect`, `/outbox/verify`, `/outbox/find` and `/outbox/export`. */
export function doorRoutes({
  outbox,
  stats,
  usedBytes,
  token,
  clock,
}: DoorOptions): Record<string, OpsRoute> {
  const guarded =
    (work: (query: URLSearchParams) => Promise<OpsAnswer>): OpsRoute =>
    (query, authorization) =>
      same(authorization ?? '', `Bearer ${token}`)
        ? work(query)
        : Promise.resolve({ status: 401, type: 'text/plain', body: ['show the token of the data folder\n'] })

  async function onSnapshot<T>(work: (store: ReturnType<Inspectable['snapshot']>) => Promise<T>): Promise<T> {
    const store = outbox().snapshot()
    try {
      return await work(store)
    } finally {
      await store.close()
    }
  }

  return {
    '/outbox/inspect': guarded(async (query) => {
      const { inFlight, waiting, refusing } = stats()
      const devicesMax = Number(query.get('devices') ?? 10)
      const inspection = await onSnapshot((store) => inspect(store, { devicesMax, nowMs: clock.now() }))
      return json({ ...inspection, diskBytes: await usedBytes(), inFlight, waiting, refusing })
    }),
    '/outbox/verify': guarded(async () => json(await onSnapshot(verify))),
    '/outbox/find': guarded(async (query) => {
      const asked = { id: query.get('id') ?? '', deviceId: query.get('device') ?? undefined }
      return json(await onSnapshot((store) => find(store, asked)))
    }),
    '/outbox/export': guarded(async (query) => ({
      status: 200,
      type: 'application/x-ndjson',
      body: lines(outbox().snapshot(), query),
    })),
  }
}

async function* lines(
  store: ReturnType<Inspectable['snapshot']>,
  query: URLSearchParams,
): AsyncIterable<string> {
  try {
    yield* inPieces(exportTexts(store, readFilter(query)), writeExported)
  } finally {
    await store.close()
  }
}

/** Events are JSON objects, so no event begins with an exclamation mark. */
function writeExported(exported: Exported): string {
  return 'text' in exported ? exported.text : `!${exported.damaged}`
}

export function readExported(line: string): Exported {
  return line.startsWith('!') ? { damaged: line.slice(1) } : { text: line }
}

function json(value: unknown): OpsAnswer {
  return { status: 200, type: 'application/json', body: [`${JSON.stringify(value)}\n`] }
}

function same(shown: string, wanted: string): boolean {
  const [a, b] = [Buffer.from(shown), Buffer.from(wanted)]
  return a.length === b.length && timingSafeEqual(a, b)
}
