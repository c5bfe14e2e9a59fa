/** Of the years 1 to 9999, which RFC 3339 can write and databases know. */
const secondsMin = -62_135_596_800
const secondsMax = 253_402_300_799
const daySeconds = 86_400

/** Seconds since 1970, and ns from there on, as a date and a time without a zone; undefined beyond the years 1 to 9999. */
export function localTimeText(seconds: number, nanos: number): string | undefined {
  if (!(seconds >= secondsMin && seconds <= secondsMax && nanos >= 0 && nanos < 1e9)) return undefined
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}${fractionOf(nanos)}`
}

/** The same as RFC 3339, in UTC. */
export function timeText(seconds: number, nanos: number): string | undefined {
  const text = localTimeText(seconds, nanos)
  return text === undefined ? undefined : `${text}Z`
}

/** Days since 1970 as a date. */
export function dateText(days: number): string | undefined {
  return localTimeText(days * daySeconds, 0)?.slice(0, 10)
}

/** A count of some unit since 1970, as whole seconds and ns. */
export function sinceEpoch(count: number | bigint, unitsPerSecond: number): [seconds: number, nanos: number] {
  if (typeof count === 'number') {
    const seconds = Math.floor(count / unitsPerSecond)
    return [seconds, (count - seconds * unitsPerSecond) * (1e9 / unitsPerSecond)]
  }
  const units = BigInt(unitsPerSecond)
  const rest = ((count % units) + units) % units
  return [Number((count - rest) / units), Number(rest) * (1e9 / unitsPerSecond)]
}

/** With 0, 3, 6 or 9 digits, as Protobuf's JSON mapping writes them. */
export function fractionOf(nanos: number): string {
  if (nanos === 0) return ''
  const digits = String(nanos).padStart(9, '0')
  return `.${digits.replace(/(000){1,2}$/, '')}`
}
