/** Conditions of a statement, and their values: `?` in a condition stands for its value. */
export class Where {
  readonly values: unknown[] = []
  readonly #parts: string[] = []

  /** Adds a condition, unless it has no value. */
  and(condition: string, value: unknown): this {
    if (value !== undefined) this.#parts.push(condition.replaceAll('?', this.value(value)))
    return this
  }

  /** One without a value. */
  always(condition: string): this {
    this.#parts.push(condition)
    return this
  }

  /** A value that stands elsewhere in the statement: its name there. */
  value(value: unknown): string {
    this.values.push(value)
    return `$${this.values.length}`
  }

  get sql(): string {
    return this.#parts.length === 0 ? '' : `where ${this.#parts.join(' and ')}`
  }
}

/** As the API tells a time. */
export function iso(time: Date): string
export function iso(time: Date | null): string | null
export function iso(time: Date | null): string | null {
  return time === null ? null : time.toISOString()
}

/** A place in time, exact to what PostgreSQL keeps: µs since the Unix epoch, as a text. */
export const microsOf = (column: string): string => `(extract(epoch from ${column}) * 1000000)::bigint::text`
export const fromMicros = (name: string): string =>
  `(to_timestamp(0) + ${name}::bigint * interval '1 microsecond')`
