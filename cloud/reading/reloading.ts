import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Schemas } from './schemas.ts'
import type { FoundSchemas, SchemaOrigin } from './origin.ts'

/**
 * How long a change of schemas may take to be known, ms; of a folder twice as long. It is asked for and not told of: a query for one row
 * every few seconds needs no connection of its own, passes any pooler, and misses nothing that happened while nobody was connected.
 */
export const lookEveryMs = 5_000

export interface ReloadingOptions {
  schemas: Schemas
  origin: SchemaOrigin
  clock: Clock
  log: Logger
}

/**
 * Looks for other schemas now and then, until closed, and has them used from one event to the next. What cannot be used is told once, and
 * the schemas of before stay in use; so they do while the origin cannot be read.
 */
export function startReloading({ schemas, origin, clock, log }: ReloadingOptions): {
  close(): Promise<void>
} {
  const stopping = new AbortController()
  let told: string | undefined

  function tell(error: unknown, found?: FoundSchemas): void {
    schemas.refused(error)
    const text = `${codeOf(error)} ${messageOf(error)}`
    if (text === told) return
    told = text
    const { digest, revision } = found ?? {}
    log.error(
      { code: codeOf(error), ...(found && { digest, revision }) },
      `schemas that cannot be used, so that those of before stay in use: ${messageOf(error)}`,
    )
  }

  async function look(): Promise<void> {
    let found: FoundSchemas | undefined
    try {
      found = await origin.look()
    } catch (error) {
      return tell(error)
    }
    if (found === undefined) return
    try {
      const isOther = await schemas.take(found)
      told = undefined
      if (isOther) log.info({ digest: found.digest, revision: found.revision }, 'other schemas are in use')
    } catch (error) {
      tell(error, found)
    }
  }

  async function run(): Promise<void> {
    for (;;) {
      try {
        await clock.sleep(lookEveryMs, stopping.signal)
        await look()
      } catch (error) {
        if (isAbort(error)) return
        throw error
      }
    }
  }

  const running = run()
  return {
    close() {
      stopping.abort()
      return running
    },
  }
}
