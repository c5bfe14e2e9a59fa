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

/** `500ms`, `30s`, `1.5h`, `7d` or a plain number of ms, as ms; undefined if it is something else. */
export function parseDuration(value: unknown): number | undefined {
  return parseQuantity(value, msPerUnit)
}

/** `256KiB`, `1GiB`, `500MB` or a plain number of bytes, as bytes; undefined if it is something else. */
export function parseBytes(value: unknown): number | undefined {
  return parseQuantity(value, bytesPerUnit)
}

type Quantity = z.ZodPipe<z.ZodUnknown, z.ZodTransform<number>>

/** A duration in a config file; outputs ms. Without a default the key is required. */
export function duration(): Quantity
export function duration(defaultText: string): z.ZodPrefault<Quantity>
export function duration(defaultText?: string): Quantity | z.ZodPrefault<Quantity> {
  const type = quantity(parseDuration, 'a duration such as 500ms, 30s, 10m, 24h or 7d')
  return defaultText === undefined ? type : type.prefault(defaultText)
}

/** A size in a config file; outputs bytes. Without a default the key is required. */
export function byteSize(): Quantity
export function byteSize(defaultText: string): z.ZodPrefault<Quantity>
export function byteSize(defaultText?: string): Quantity | z.ZodPrefault<Quantity> {
  const type = quantity(parseBytes, 'a size such as 65536, 256KiB, 64MiB or 4GiB')
  return defaultText === undefined ? type : type.prefault(defaultText)
}

function quantity(parse: (value: unknown) => number | undefined, expected: string): Quantity {
  return z.unknown().transform((value, context) => {
    const parsed = parse(value)
    if (parsed !== undefined) return parsed
    context.addIssue({ code: 'custom', message: `must be ${expected}` })
    return z.NEVER
  })
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
