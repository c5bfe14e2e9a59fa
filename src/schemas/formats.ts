import type { Ajv } from 'ajv'
import { fullFormats } from 'ajv-formats/dist/formats.js'
import type { CheckCost } from './check-cost.ts'
import { compilePattern, type Pattern } from './pattern.ts'

/** Whether `format` is checked, or tells a reader something and checks nothing (2020-12 Validation, 7.2.1 and 7.2.2). */
export type Formats = 'checked' | 'annotation'

/** Of ajv-formats, the regular expressions of which are matched here in linear time (G7): some of them take the engine the square of a text’s length. */
const taken = [
  'email',
  'ipv4',
  'ipv6',
  'json-pointer',
  'relative-json-pointer',
  'uri-reference',
  'uri-template',
  'uuid',
] as const
/** Of it as well, functions that look at each character once. */
const functions = ['date', 'date-time', 'time'] as const

/** The formats that are checked. */
export type Format =
  (typeof taken)[number] | (typeof functions)[number] | 'uri' | 'duration' | 'hostname' | 'regex'

/** RFC 3339, appendix A; that of ajv-formats looks around. */
const duration = (() => {
  const time = String.raw`T(?:\d+H(?:\d+M(?:\d+S)?)?|\d+M(?:\d+S)?|\d+S)`
  const date = String.raw`(?:\d+D|\d+M(?:\d+D)?|\d+Y(?:\d+M(?:\d+D)?)?)`
  return String.raw`^P(?:${time}|${date}(?:${time})?|\d+W)$`
})()

/** RFC 1123, 2.1, without how long it may be. */
const hostname = '^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*\\.?$'
const hostnameLengthMax = 253

/** RFC 3986, 3.1: a reference that begins with a scheme is no relative one. */
const scheme = /^[a-z][a-z0-9+.-]*:/i

type Holds = (text: string) => boolean

/** The formats of JSON Schema 2020-12 (Validation, 7.3) that are checked; any other is an annotation, as are those for internationalised names. */
function createFormats(cost: Pick<CheckCost, 'spend'>): ReadonlyMap<string, Holds> {
  // Made when it is needed: most schemas name one or two.
  const matching = (source: string): Holds => {
    let pattern: Pattern | undefined
    return (text) => (pattern ??= compilePattern(source, cost.spend)).test(text)
  }
  const holds = new Map<string, Holds>()
  for (const name of taken) holds.set(name, foldingCase(matching((fullFormats[name] as RegExp).source)))
  for (const name of functions) holds.set(name, (fullFormats[name] as { validate: Holds }).validate)
  const isReference = holds.get('uri-reference') as Holds
  const isHostname = foldingCase(matching(hostname))
  holds.set('uri', (text) => scheme.test(text) && isReference(text))
  holds.set('duration', matching(duration))
  holds.set('hostname', (text) => text.replace(/\.$/, '').length <= hostnameLengthMax && isHostname(text))
  holds.set('regex', isPattern)
  return holds
}

/** Whether a text is of a format, as a check would say; what it costs nobody counts, so the text is to be short. */
export function createFormatTests(): ReadonlyMap<string, (text: string) => boolean> {
  return createFormats({ spend: () => {} })
}

/**
 * Has a compiler check formats, counting what that costs. One that `schemas` name and nobody knows is an annotation, as the
 * standard has it.
 */
export function checkFormats(ajv: Ajv, cost: CheckCost, schemas: readonly unknown[]): void {
  const known = createFormats(cost)
  for (const [name, holds] of known) {
    const validate = (text: string): boolean => {
      cost.spend(text.length)
      return holds(text)
    }
    ajv.addFormat(name, { type: 'string', validate })
  }
  for (const name of namedIn(schemas)) if (!known.has(name)) ajv.addFormat(name, true)
}

/** More than are meant: a member of data may be called `format` as well. */
function namedIn(schema: unknown, into = new Set<string>()): ReadonlySet<string> {
  if (typeof schema !== 'object' || schema === null) return into
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'format' && typeof value === 'string') into.add(value)
    else namedIn(value, into)
  }
  return into
}

/** The expressions of formats are of ASCII and written small. */
function foldingCase(holds: Holds): Holds {
  return (text) => holds(foldCase(text))
}

function foldCase(text: string): string {
  return text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

function isPattern(text: string): boolean {
  try {
    return new RegExp(text, 'u') instanceof RegExp
  } catch {
    return false
  }
}
