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
  const query = database.query.bind(database)
  let known = await readAll(query, new Map())

  function take(read: Known): void {
    // Fewer are a decision. None at all is a table that was emptied, or a database that was restored from before.
    if (read.registry.gateways.length === 0 && known.registry.gateways.length > 0) {
      log.error({ code: 'GATEWAY_UNKNOWN' }, 'no gateway is registered any more: those before are believed')
      return
    }
    if (read.devices.size > 0 || known.devices.size === 0) {
      known = read
      return
    }
    log.error(
      { code: 'GATEWAY_DEVICES' },
      'of no gateway devices are registered any more: those before are believed',
    )
    known = { ...known, registry: read.registry }
  }

  async function run(): Promise<void> {
    for (;;) {
      try {
        await clock.sleep(refreshMs, stopping.signal)
        take(await readAll(query, known.devicesRead))
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

async function readAll(query: Query, before: DevicesRead): Promise<Known> {
  const registry = await readRegistry(query)
  const devicesRead = await readDevices(query, registry.gateways, before)
  return { registry, devicesRead, devices: registeredDevices(devicesRead, registry.names) }
}
