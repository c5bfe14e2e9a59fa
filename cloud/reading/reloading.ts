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

/** What could not be used is tried again as it is every so many looks: it may have been for a file or a disk that could not be read then. */
const againEveryLooks = 12

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
export function startReloading(options: ReloadingOptions): { close(): Promise<void> } {
  const stopping = new AbortController()
  const looking = new Looking(options)

  async function run(): Promise<void> {
    for (;;) {
      try {
        await options.clock.sleep(lookEveryMs, stopping.signal)
        await looking.look()
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

class Looking {
  readonly #options: ReloadingOptions
  #told: string | undefined
  /** Why what was found last is not in use. */
  #refusal: unknown
  #isUnreadable = false
  /** Since something was found that could not be used. */
  #looks = 0

  constructor(options: ReloadingOptions) {
    this.#options = options
  }

  async look(): Promise<void> {
    const { schemas, log } = this.#options
    const found = await this.#find()
    if (found === undefined) return
    const { digest, revision } = found
    try {
      const isOther = await schemas.take(found)
      this.#refusal = this.#told = undefined
      if (isOther) log.info({ digest, revision }, 'other schemas are in use')
    } catch (error) {
      this.#refusal = error
      this.#looks = 0
      this.#tell(error, { digest, revision })
    }
  }

  /** What was found, if it is another; whether anything could be read is seen at once. */
  async #find(): Promise<FoundSchemas | undefined> {
    const { schemas, origin } = this.#options
    try {
      this.#looks += 1
      const found = await origin.look(this.#refusal !== undefined && this.#looks % againEveryLooks === 0)
      if (this.#isUnreadable) {
        schemas.refused(this.#refusal)
        this.#told = undefined
        this.#isUnreadable = false
      }
      return found
    } catch (error) {
      this.#isUnreadable = true
      this.#tell(error)
      return undefined
    }
  }

  #tell(error: unknown, which: object = {}): void {
    const { schemas, log } = this.#options
    schemas.refused(error)
    const text = `${codeOf(error)} ${messageOf(error)}`
    if (text === this.#told) return
    this.#told = text
    log.error(
      { code: codeOf(error), ...which },
      `schemas that cannot be used, so that those of before stay in use: ${messageOf(error)}`,
    )
  }
}
