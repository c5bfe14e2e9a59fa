const fieldsMax = 64
const depthMax = 4
const pathLengthMax = 200
/** Sums stay finite: 10^18 of these are still a double (PostgreSQL would refuse the sum, and then every event of its bucket). */
const valueMax = 1e290
/** Smaller ones are 0: the mean of a denormal and some zeros is no double, and PostgreSQL would refuse it to whoever asks for any mean. */
const valueMin = 1e-290

/**
 * The numbers of up to 10^290 (below 10^-290 they are 0) in an event's data by dotted path (`battery.voltage`), or `value` when the data is a number.
 * Bounded (G7): the first 64 in member order, four levels deep. Arrays are left out, as their indexes name nothing, and so are
 * paths that are no text for PostgreSQL.
 */
export function numericFields(data: unknown): [path: string, value: number][] {
  if (typeof data === 'number') return isCountable(data) ? [['value', counted(data)]] : []
  const fields: [string, number][] = []
  collect(data, '', 1, fields)
  return fields
}

function collect(value: unknown, prefix: string, depth: number, fields: [string, number][]): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || depth > depthMax) return
  for (const [name, member] of Object.entries(value)) {
    if (fields.length >= fieldsMax) return
    const path = prefix + name
    if (typeof member === 'number') {
      if (isCountable(member) && isStorable(path)) fields.push([path, counted(member)])
    } else {
      collect(member, `${path}.`, depth + 1, fields)
    }
  }
}

/**
 * PostgreSQL has no U+0000, and of half a surrogate pair UTF-8 makes U+FFFD, whichever half it is: two paths would be one key, which
 * one upsert may not touch twice.
 */
function isStorable(path: string): boolean {
  return path.length <= pathLengthMax && !path.includes('\0') && path.isWellFormed()
}

function isCountable(value: number): boolean {
  return Math.abs(value) <= valueMax
}

function counted(value: number): number {
  return Math.abs(value) < valueMin ? 0 : value
}
