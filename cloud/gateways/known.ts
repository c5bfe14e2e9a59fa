import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Database } from '../database/database-postgres.ts'
import { type RegisteredDevices, registeredDevices } from './devices.ts'
import { type DevicesRead, readDevices } from './devices-postgres.ts'
import type { Query } from './query.ts'
import type { Registry } from './registry.ts'
import { readRegistry } from './registry-postgres.ts'

/** How long a change of the registry may take to be known, ms. */
const refreshMs = 5_000

/** What is registered, in memory: no event waits for the database to be judged. */
export interface KnownGateways {
  /** As of some seconds ago. */
  readonly registry: Registry
  /** The same: of which devices they may speak. */
  readonly devices: RegisteredDevices
  close(): Promise<void>
}

export interface KnownGatewaysOptions {
  database: Database
  clock: Clock
  log: Logger
}

/**
 * Reads what is registered, and reads it again every few seconds until closed; of devices only what has changed. While the database is
 * down, or has lost all of them, what was known stays.
 * @throws TidegateError `DATABASE_*`
 */
export async function startKnowing({ database, clock, log }: KnownGatewaysOptions): Promise<KnownGateways> {
  const stopping = new AbortController()
  // Of one moment: half of a renaming, or of a move of devices, would be another registry than anybody had made.
  const readAll = (before: DevicesRead, onRegistry?: (registry: Registry) => void): Promise<Known> =>
    database.snapshot((query) => readIn(query, before, onRegistry))
  const told = new Set<string>()
  let known = await readAll(new Map())

  function take(read: Known): void {
    // Fewer are a decision. None at all is a table that was emptied, or a database that was restored from before.
    if (read.registry.gateways.length === 0 && known.registry.gateways.length > 0) {
      log.error({ code: 'GATEWAY_UNKNOWN' }, 'no gateway is registered any more: those before are believed')
      return
    }
    const lost = [...known.devicesRead].filter(
      ([name, { patterns }]) => patterns.size > 0 && (read.devicesRead.get(name)?.patterns.size ?? 0) === 0,
    )
    tellLost(lost.map(([name]) => name))
    known = lost.length === 0 ? read : knownOf(read.registry, new Map([...read.devicesRead, ...lost]))
  }

  /** The command takes no gateway's last device away: who has none any more has lost them, and would be free to speak of all. */
  function tellLost(gateways: readonly string[]): void {
    const fresh = gateways.filter((name) => !told.has(name))
    told.clear()
    for (const name of gateways) told.add(name)
    if (fresh.length === 0) return
    log.error(
      { code: 'GATEWAY_DEVICES', gateways: fresh.slice(0, 20), count: fresh.length },
      'of gateways that had devices none are registered any more: those before are believed until this cloud is started anew',
    )
  }

  async function run(): Promise<void> {
    for (;;) {
      try {
        await clock.sleep(refreshMs, stopping.signal)
        take(await readAll(known.devicesRead, (registry) => (known = suspending(known, registry))))
      } catch (error) {
        if (isAbort(error)) return
        log.warn({ code: codeOf(error) }, `could not read who the gateways are: ${messageOf(error)}`)
      }
    }
  }

  const running = run()
  return {
    get registry() {
      return known.registry
    },
    get devices() {
      return known.devices
    },
    close() {
      stopping.abort()
      return running
    },
  }
}

interface Known {
  registry: Registry
  devices: RegisteredDevices
  devicesRead: DevicesRead
}

/** A suspension waits for no devices, of which there may be a million to be read; all else is taken with them. */
function suspending(known: Known, read: Registry): Known {
  const { registry } = known
  const isNew = (name: string): boolean =>
    read.stateOf(name) === 'suspended' && registry.stateOf(name) !== 'suspended'
  if (![...registry.gateways, ...read.gateways].some(({ name }) => isNew(name))) return known
  const stateOf: Registry['stateOf'] = (name) =>
    read.stateOf(name) === 'suspended' ? 'suspended' : registry.stateOf(name)
  return { ...known, registry: { ...registry, stateOf } }
}

async function readIn(
  query: Query,
  before: DevicesRead,
  onRegistry?: (registry: Registry) => void,
): Promise<Known> {
  const registry = await readRegistry(query)
  onRegistry?.(registry)
  const devicesRead = await readDevices(query, registry.gateways, before)
  return knownOf(registry, devicesRead)
}

function knownOf(registry: Registry, devicesRead: DevicesRead): Known {
  return { registry, devicesRead, devices: registeredDevices(devicesRead, registry.names) }
}
