import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Database } from '../database/database-postgres.ts'
import type { Registry } from './registry.ts'
import { readRegistry } from './registry-postgres.ts'

/** How long a change of the registry may take to be known, ms. */
const refreshMs = 5_000

/** What is registered, in memory: no event waits for the database to be judged. */
export interface KnownGateways {
  /** As of some seconds ago. */
  readonly registry: Registry
  close(): Promise<void>
}

export interface KnownGatewaysOptions {
  database: Database
  clock: Clock
  log: Logger
}

/** Reads what is registered, and reads it again every few seconds until closed. While the database is down, or has lost all of them, what was known stays. @throws TidegateError `DATABASE_*` */
export async function startKnowing({ database, clock, log }: KnownGatewaysOptions): Promise<KnownGateways> {
  const stopping = new AbortController()
  const query = database.query.bind(database)
  let registry = await readRegistry(query)

  async function run(): Promise<void> {
    for (;;) {
      try {
        await clock.sleep(refreshMs, stopping.signal)
        const read = await readRegistry(query)
        if (read.gateways.length > 0 || registry.gateways.length === 0) registry = read
        else
          log.error(
            { code: 'GATEWAY_UNKNOWN' },
            'no gateway is registered any more: those before are believed',
          )
      } catch (error) {
        if (isAbort(error)) return
        log.warn({ code: codeOf(error) }, `could not read who the gateways are: ${messageOf(error)}`)
      }
    }
  }

  const running = run()
  return {
    get registry() {
      return registry
    },
    close() {
      stopping.abort()
      return running
    },
  }
}
