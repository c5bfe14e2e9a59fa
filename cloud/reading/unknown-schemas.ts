import type { Logger } from '../../src/log.ts'

/** Names come from whoever publishes: more than so many are counted as one (G7). */
const namesMax = 100
const nameLengthMax = 160
const others = 'other'

/** Versions of schemas that events name and that are not known here: told once each, and counted. */
export class UnknownSchemas {
  readonly #counts = new Map<string, number>()
  readonly #log: Logger

  constructor(log: Logger) {
    this.#log = log
  }

  /** Checks of events by the name of their schema; `other`: of all names beyond the hundredth. Each group checks an event once an attempt. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts
  }

  note(dataschema: string): void {
    const name = dataschema.slice(0, nameLengthMax)
    const key = this.#counts.has(name) || this.#counts.size < namesMax ? name : others
    const before = this.#counts.get(key)
    this.#counts.set(key, (before ?? 0) + 1)
    if (before !== undefined) return
    this.#log.warn(
      { code: 'SCHEMA_UNKNOWN', dataschema: name },
      'events come of a version that is not among the schemas of this cloud: they are stored as their gateways checked them, and whoever asks for a version waits',
    )
  }
}
