/** How far local time is ahead of UTC, in ms. */
export interface TimeZone {
  offsetMsAt(utcMs: number): number
}

const minuteMs = 60_000
const dayMs = 86_400_000

/** `Z`, `+01:00`, or a name of the IANA time zone database such as `Europe/Berlin`; undefined if it is none of these. */
export function timeZoneOf(name: string): TimeZone | undefined {
  const offset = /^(?:Z|([+-])(0\d|1[0-4]):([0-5]\d))$/.exec(name)
  if (offset) {
    const [, sign, hours = '0', minutes = '0'] = offset
    const offsetMs = (Number(hours) * 60 + Number(minutes)) * minuteMs * (sign === '-' ? -1 : 1)
    return { offsetMsAt: () => offsetMs }
  }
  if (/^[+-]/.test(name)) return undefined
  try {
    return new NamedZone(name)
  } catch {
    return undefined
  }
}

/** Zones change at full quarters of an hour; asking what is known for one is a thousand times faster than asking ICU. */
const quarterMs = 15 * minuteMs
const quartersMax = 1000

class NamedZone implements TimeZone {
  readonly #format: Intl.DateTimeFormat
  readonly #known = new Map<number, number>()

  /** @throws RangeError there is no such zone. */
  constructor(timeZone: string) {
    this.#format = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' })
  }

  offsetMsAt(utcMs: number): number {
    const quarter = Math.floor(utcMs / quarterMs)
    let offsetMs = this.#known.get(quarter)
    if (offsetMs === undefined) {
      offsetMs = this.#ask(quarter * quarterMs)
      if (this.#known.size >= quartersMax) this.#known.clear()
      this.#known.set(quarter, offsetMs)
    }
    return offsetMs
  }

  /** By the name that ICU gives the offset: `GMT`, `GMT+02:00`, and for years long ago `GMT+00:53:28`. */
  #ask(utcMs: number): number {
    const parts = this.#format.formatToParts(utcMs)
    const name = parts.find(({ type }) => type === 'timeZoneName')?.value ?? ''
    const [, sign, hours = '0', minutes = '0', seconds = '0'] =
      /([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(name) ?? []
    const offsetMs = (Number(hours) * 60 + Number(minutes)) * minuteMs + Number(seconds) * 1000
    return sign === '-' ? -offsetMs : offsetMs
  }
}

/**
 * The offset of a local time, given as if it were UTC. Of an hour that happens twice, when clocks are put back, the first
 * is taken; a time that never happens, because they were put forward, is taken as if they had not been (both as RFC 9557's
 * and Temporal's "compatible").
 */
export function offsetMsOfLocal(localMs: number, zone: TimeZone): number {
  const before = zone.offsetMsAt(localMs - dayMs)
  const after = zone.offsetMsAt(localMs + dayMs)
  if (zone.offsetMsAt(localMs - before) === before) return before
  return zone.offsetMsAt(localMs - after) === after ? after : before
}
