import { monotonicFactory } from 'ulid'
import type { Clock, Random } from '../../src/clock.ts'
import {
  type Candidate,
  deviceSource,
  eventTypePattern,
  isSystemType,
  limits,
} from '../../src/contract/event.ts'
import type { Lane, Submission } from '../outbox/outbox.ts'
import { isImplausible, parseTime } from './event-time.ts'
import { isStorable, parsePayload, unstorable } from './payload.ts'
import { type Fault, quarantine, type RejectionReason } from './quarantine.ts'
import { type Reading, readMessage, type ReadingResult } from './reading.ts'
import type { RouteMatch } from './routes.ts'
import { createSchemaCheck, type SchemaCheckOptions } from './schema-check.ts'

export interface Message {
  /** The authenticated publisher. */
  deviceId: string
  topic: string
  payload: Buffer
  qos: 0 | 1 | 2
  match: RouteMatch
}

/** What becomes of a message: always something that takes a place in the ledger (G2). */
export interface Admitted {
  submission: Submission
  /** Set when the submission is a rejected event that stands for the message. */
  rejected?: RejectionReason
  /** The device's clock is not to be believed; the event is kept and marked. */
  implausible?: true
}

export type Admit = (message: Message) => Admitted

export interface AdmissionOptions extends SchemaCheckOptions {
  types: Readonly<Record<string, TypeRule>>
  payloadBytesMax: number
  quarantineBytesMax: number
  clockSkewMaxMs: number
  timeAgeMaxMs: number
  clock: Clock
  random: Random
}

export interface TypeRule {
  lane?: Lane | undefined
  ttl?: number | undefined
}

/** The way from an MQTT message to an event, or to the rejected event that says why it is none. */
export function createAdmission(options: AdmissionOptions): Admit {
  const checkSchema = createSchemaCheck(options)
  const makeId = monotonicFactory(options.random)
  const rules = new Map(Object.entries(options.types))
  const accepting = { ...options, makeId, ruleOf: (type: string) => rules.get(type) }
  return (message) => {
    const nowMs = options.clock.now()
    const outcome = read(message, options.payloadBytesMax)
    if (!outcome.ok) return reject(message, outcome, nowMs, options.quarantineBytesMax)
    const { reading } = outcome
    const schema = checkSchema(message.match.type, reading)
    if (schema.ok) return accept(message, reading, schema.dataschema, nowMs, accepting)
    return reject(message, { fault: schema.fault, id: reading.id }, nowMs, options.quarantineBytesMax)
  }
}

function read({ payload, match }: Message, payloadBytesMax: number): ReadingResult {
  if (payload.length > payloadBytesMax)
    return refused('PAYLOAD_TOO_LARGE', `${payload.length} bytes, and ${payloadBytesMax} are allowed`)
  if (!eventTypePattern.test(match.type) || isSystemType(match.type))
    return refused('TYPE_INVALID', `the topic's type is not one that a device may use`)
  if (match.subject !== undefined && match.subject.length > limits.subjectLengthMax)
    return refused('ENVELOPE_INVALID', `subject: the topic's is over ${limits.subjectLengthMax} characters`)
  if (match.subject !== undefined && !isStorable(match.subject)) return { ok: false, fault: unstorable }
  const parsed = parsePayload(payload)
  return parsed.ok ? readMessage(parsed.value, match) : parsed
}

interface Accepting extends Pick<AdmissionOptions, 'clockSkewMaxMs' | 'timeAgeMaxMs'> {
  makeId: (nowMs: number) => string
  ruleOf: (type: string) => TypeRule | undefined
}

function accept(
  message: Message,
  reading: Reading,
  dataschema: string | undefined,
  nowMs: number,
  { makeId, ruleOf, clockSkewMaxMs, timeAgeMaxMs }: Accepting,
): Admitted {
  const { deviceId, match, qos } = message
  const timeMs = reading.time === undefined ? undefined : parseTime(reading.time)
  const implausible = timeMs !== undefined && isImplausible(timeMs, nowMs, clockSkewMaxMs, timeAgeMaxMs)
  const candidate: Candidate = {
    specversion: '1.0',
    id: reading.id ?? makeId(nowMs),
    source: deviceSource(deviceId),
    type: match.type,
    ...(reading.subject === undefined ? {} : { subject: reading.subject }),
    time: reading.time ?? new Date(nowMs).toISOString(),
    ...(implausible ? { timestatus: 'implausible' } : {}),
    datacontenttype: 'application/json',
    ...(dataschema === undefined ? {} : { dataschema }),
    partitionkey: deviceId,
    ...(reading.traceparent === undefined ? {} : { traceparent: reading.traceparent }),
    ...(reading.expirytime === undefined ? {} : { expirytime: reading.expirytime }),
    ...reading.extensions,
    data: reading.data,
  }
  const rule = ruleOf(match.type)
  const submission: Submission = { candidate, lane: match.route.lane ?? rule?.lane ?? 'normal', qos }
  const ttlMs = timeToLive(match.route.ttl ?? rule?.ttl, reading.expirytime, timeMs ?? nowMs)
  if (ttlMs !== undefined) submission.ttlMs = ttlMs
  return implausible ? { submission, implausible } : { submission }
}

function reject(
  { deviceId, topic, payload, match, qos }: Message,
  { fault, id }: { fault: Fault; id?: string | undefined },
  nowMs: number,
  quarantineBytesMax: number,
): Admitted {
  const time = new Date(nowMs).toISOString()
  const rejected = { deviceId, topic, payload, type: match.type, id, time }
  const candidate = quarantine(rejected, fault, quarantineBytesMax)
  return { submission: { candidate, lane: 'normal', qos }, rejected: fault.reason }
}

function refused(reason: RejectionReason, detail: string): { ok: false; fault: Fault } {
  return { ok: false, fault: { reason, detail } }
}

/**
 * The shorter of the type's life and the event's own, which began when it was dated: by one and the same clock, so
 * that nothing expires because another is wrong. An event that is past it lives 0 ms.
 */
function timeToLive(
  ttlMs: number | undefined,
  expiry: string | undefined,
  datedMs: number,
): number | undefined {
  const expiryMs = expiry === undefined ? undefined : parseTime(expiry)
  if (expiryMs === undefined) return ttlMs
  return Math.min(ttlMs ?? Number.POSITIVE_INFINITY, Math.max(0, expiryMs - datedMs))
}
