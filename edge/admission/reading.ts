import { eventIdPattern, limits } from '../../src/contract/event.ts'
import { envelopeIn, isSent } from '../../src/contract/sent.ts'
import type { Fault } from './quarantine.ts'
import { valueAt } from './codecs/paths.ts'
import type { EventMatch } from './routes/routes.ts'
import { readTime, type TimeRead } from './event-time.ts'

/** What a device said, before the gateway adds what only it may say (source, ledger place). */
export interface Reading {
  id?: string
  isCloudEvent?: true
  time?: string
  /** It gave a time that cannot be read: why, without quoting it. */
  timeFault?: string
  subject?: string
  dataschema?: string
  traceparent?: string
  expirytime?: string
  extensions?: Record<string, string | number | boolean>
  data: unknown
}

export type ReadingResult =
  | { ok: true; reading: Reading }
  /** `id` is what it claimed, however wrong. */
  | { ok: false; fault: Fault; id?: string }

/** A payload is a CloudEvent if it says so; everything else is plain data. */
export function readMessage(value: unknown, match: EventMatch): ReadingResult {
  const envelope = envelopeIn(value, match.route.decode?.format)
  return envelope ? readCloudEvent(envelope, match) : readPlain(value, match)
}

function readPlain(value: unknown, match: EventMatch): ReadingResult {
  const { route } = match
  const reading: Reading = { data: value }
  if (match.subject !== undefined) reading.subject = match.subject
  if (route.timePath) takeTime(reading, route.timeFrom ?? '', givenAt(value, route.timePath, match), match)
  if (route.idPath) {
    const id = givenAt(value, route.idPath, match)
    if (id === undefined || id === null) return { ok: true, reading }
    const text = typeof id === 'number' && Number.isSafeInteger(id) ? String(id) : id
    if (!isEventId(text)) return refused('ID_INVALID', `${route.idFrom ?? ''}: ${idRule}`, id)
    reading.id = text
  }
  return { ok: true, reading }
}

function givenAt(value: unknown, path: readonly string[], { route }: EventMatch): unknown {
  const found = valueAt(value, path)
  return isSent(found, route.decode?.format) ? found : undefined
}

/** The time of a reading is the one it gave, however it came; what cannot be read does not take the reading with it. */
function takeTime(reading: Reading, name: string, value: unknown, { route }: EventMatch): void {
  // Many products say so when their clock is not set yet, or leave it out.
  if (value === undefined || value === null) return
  const read: TimeRead = readTime(value, route.timeZone)
  if (read.ok) reading.time = read.time
  else reading.timeFault = `${name}: ${read.fault}`
}

/**
 * CloudEvents 1.0 as devices send it. `source` is not read: the authenticated identity is the source. `id`,
 * `type` and `time` may be left out, as the gateway knows or makes them.
 */
function readCloudEvent(envelope: Record<string, unknown>, match: EventMatch): ReadingResult {
  const { id, subject, traceparent } = envelope
  const fault = envelopeFault(envelope, match.type)
  if (fault !== undefined) return refused('ENVELOPE_INVALID', fault, id)
  if (id !== undefined && !isEventId(id)) return refused('ID_INVALID', `id: ${idRule}`, id)

  const reading: Reading = { isCloudEvent: true, data: envelope['data'] }
  if (id !== undefined) reading.id = id
  takeTime(reading, 'time', envelope['time'], match)
  if (typeof envelope['dataschema'] === 'string') reading.dataschema = envelope['dataschema']
  const expiry = readExpiry(envelope['expirytime'])
  if (expiry.ok) reading.expirytime = expiry.time
  // W3C Trace Context, 3.2: an unreadable traceparent is ignored, never a reason to refuse.
  if (typeof traceparent === 'string' && /^[0-9a-f]{2}(-[0-9a-f]+){3}$/.test(traceparent)) {
    if (traceparent.length === 55) reading.traceparent = traceparent
  }
  if (match.subject !== undefined) reading.subject = match.subject
  else if (typeof subject === 'string') reading.subject = subject
  const extensions = extensionsOf(envelope)
  if (extensions) reading.extensions = extensions
  return { ok: true, reading }
}

function envelopeFault(envelope: Record<string, unknown>, type: string): string | undefined {
  const { specversion, datacontenttype, subject, expirytime, dataschema } = envelope
  if (specversion !== '1.0') return 'specversion: must be "1.0"'
  if (envelope['type'] !== undefined && envelope['type'] !== type)
    return `type: must be ${type}, which the topic says`
  if (Object.hasOwn(envelope, 'data_base64')) return 'data_base64: only JSON data is accepted'
  if (!Object.hasOwn(envelope, 'data')) return 'data: is required'
  if (datacontenttype !== undefined && !isJsonType(datacontenttype))
    return 'datacontenttype: must be application/json'
  // Nobody can say how long an event lives whose end is not known.
  if (expirytime !== undefined && !readExpiry(expirytime).ok)
    return 'expirytime: must be RFC 3339 with seconds and an offset'
  if (dataschema !== undefined && (typeof dataschema !== 'string' || dataschema.length > 160))
    return 'dataschema: must be a text of at most 160 characters'
  if (
    subject !== undefined &&
    (typeof subject !== 'string' || subject === '' || subject.length > limits.subjectLengthMax)
  )
    return `subject: must be a text of 1 to ${limits.subjectLengthMax} characters`
  return undefined
}

function readExpiry(value: unknown): TimeRead {
  return readTime(typeof value === 'string' ? value : undefined, undefined)
}

const extensionsMax = 16
const extensionLengthMax = 256
const known = new Set(
  'specversion id source type subject time datacontenttype dataschema data traceparent expirytime'.split(' '),
)
/** Attributes by which the gateway says what only it knows; a device's own are dropped. */
const reserved = new Set(
  'gateway epoch sequence chain recordedtime partitionkey timestatus authmethod payloadformat payloadsha256 payloadskipped'.split(
    ' ',
  ),
)

/** Extension attributes as CloudEvents 1.0 (3.1) names them, scalars only; all others are dropped. */
function extensionsOf(envelope: Record<string, unknown>): Reading['extensions'] {
  let extensions: Reading['extensions']
  let count = 0
  for (const name in envelope) {
    if (known.has(name) || reserved.has(name) || !/^[a-z0-9]{1,20}$/.test(name)) continue
    const value = envelope[name]
    if (typeof value === 'string' ? value.length > extensionLengthMax : !isNumberOrBoolean(value)) continue
    if (++count > extensionsMax) break
    extensions ??= {}
    extensions[name] = value as string | number | boolean
  }
  return extensions
}

const idRule = 'must be 1 to 128 printable characters'

function isEventId(id: unknown): id is string {
  return typeof id === 'string' && eventIdPattern.test(id)
}

function isJsonType(value: unknown): boolean {
  return typeof value === 'string' && /^application\/(json|[\w.-]+\+json)(\s*;.*)?$/i.test(value)
}

function isNumberOrBoolean(value: unknown): value is number | boolean {
  return typeof value === 'number' || typeof value === 'boolean'
}

function refused(reason: Fault['reason'], detail: string, id: unknown): ReadingResult {
  const claimed = typeof id === 'string' ? { id: id.slice(0, limits.eventIdLengthMax) } : {}
  return { ok: false, fault: { reason, detail }, ...claimed }
}
