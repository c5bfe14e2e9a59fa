import { z } from 'zod'

const msPerUnit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const bytesPerUnit = {
  B: 1,
  kB: 1000,
  MB: 1e6,
  GB: 1e9,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
} as const

/** `500ms`, `30s`, `1.5h`, `1h30m`, `7d` or a plain number of ms, as ms; undefined if it is something else. */
export function parseDuration(value: unknown): number | undefined {
  return parseQuantity(value, msPerUnit) ?? parseParts(value)
}

/** `256KiB`, `1GiB`, `500MB` or a plain number of bytes, as bytes; undefined if it is something else. */
export function parseBytes(value: unknown): number | undefined {
  return parseQuantity(value, bytesPerUnit)
}

/** A length of time as people say it: `850 ms`, `26.9 s`, `12 min`, `3.5 h`, `2.1 d`. */
export function durationText(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${rounded(ms / 1000)} s`
  if (ms < 7_200_000) return `${rounded(ms / 60_000)} min`
  return ms < 172_800_000 ? `${rounded(ms / 3_600_000)} h` : `${rounded(ms / 86_400_000)} d`
}

function rounded(value: number): string {
  return value.toFixed(1).replace('.0', '')
}

type Quantity = z.ZodPipe<z.ZodUnknown, z.ZodTransform<number>>

/** Written as in a config file. */
export interface Limits {
  /** Default: 0. */
  min?: string
  /** Default: more than anybody needs, and little enough to reckon with. */
  max?: string
}

/** A duration in a config file; outputs ms. Without a default the key is required. */
export function duration(limits?: Limits): Quantity
export function duration(defaultText: string, limits?: Limits): z.ZodPrefault<Quantity>
export function duration(first?: string | Limits, limits: Limits = {}): Quantity | z.ZodPrefault<Quantity> {
  const kind = {
    parse: parseDuration,
    expected: 'a duration such as 500ms, 30s, 10m, 1h30m or 7d',
    max: '36500d',
  }
  return quantity(kind, first, limits)
}

/** Whether `parseDuration` gave something, and that is within the limits. */
export function withinLimits(ms: number | undefined, { min, max }: Limits): boolean {
  return ms !== undefined && ms >= (parseDuration(min) ?? 0) && ms <= (parseDuration(max) ?? Infinity)
}

/** A size in a config file; outputs bytes. Without a default the key is required. */
export function byteSize(limits?: Limits): Quantity
export function byteSize(defaultText: string, limits?: Limits): z.ZodPrefault<Quantity>
export function byteSize(first?: string | Limits, limits: Limits = {}): Quantity | z.ZodPrefault<Quantity> {
  const kind = { parse: parseBytes, expected: 'a size such as 65536, 256KiB, 64MiB or 4GiB', max: '1024TiB' }
  return quantity(kind, first, limits)
}

interface Kind {
  parse: (value: unknown) => number | undefined
  expected: string
  max: string
}

function quantity(
  kind: Kind,
  first: string | Limits | undefined,
  limits: Limits,
): Quantity | z.ZodPrefault<Quantity> {
  if (typeof first === 'string') return bounded(kind, limits).prefault(first)
  return bounded(kind, first ?? limits)
}

function bounded({ parse, expected, ...kind }: Kind, limits: Limits): Quantity {
  const { min, max = kind.max } = limits
  const leastOf = min === undefined ? 0 : parse(min)
  const mostOf = parse(max)
  if (leastOf === undefined || mostOf === undefined) throw new RangeError(`limits must be ${expected}`)
  return z.unknown().transform((value, context) => {
    const parsed = parse(value)
    if (parsed !== undefined && parsed >= leastOf && parsed <= mostOf) return parsed
    const message = parsed === undefined ? expected : parsed < leastOf ? `at least ${min}` : `at most ${max}`
    context.addIssue({ code: 'custom', message: `must be ${message}` })
    return z.NEVER
  })
}

/** `1h30m`: whole numbers, each with a smaller unit than the one before. */
function parseParts(value: unknown): number | undefined {
  if (typeof value !== 'string' || !/^(\d+(d|h|ms?|s))+$/.test(value)) return undefined
  let before = Infinity
  let sumMs = 0
  for (const [, count, unit] of value.matchAll(/(\d+)(d|h|ms?|s)/g)) {
    const unitMs = msPerUnit[unit as keyof typeof msPerUnit]
    if (unitMs >= before) return undefined
    before = unitMs
    sumMs += Number(count) * unitMs
  }
  return Number.isSafeInteger(sumMs) ? sumMs : undefined
}

function parseQuantity(value: unknown, units: Readonly<Record<string, number>>): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : undefined
  if (typeof value !== 'string') return undefined
  const match = /^(\d+(?:\.\d+)?) ?([A-Za-z]+)$/.exec(value.trim())
  const factor = match && Object.hasOwn(units, match[2] as string) ? units[match[2] as string] : undefined
  if (!match || factor === undefined) return undefined
  const quantity = Math.round(Number(match[1]) * factor)
  return Number.isSafeInteger(quantity) ? quantity : undefined
}

/** `1 comparison`, `2 comparisons`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}
