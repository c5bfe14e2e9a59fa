import { hash } from 'node:crypto'
import { monotonicFactory } from 'ulid'
import { writeCandidate } from '../../src/contract/codec.ts'
import type { Clock, Random } from '../../src/clock.ts'
import {
  type AuthMethod,
  type Candidate,
  deviceSource,
  eventIdPattern,
  eventTypePattern,
  isSystemType,
  limits,
} from '../../src/contract/event.ts'
import type { Lane, Submission } from '../outbox/outbox.ts'
import { isImplausible, msOf } from './event-time.ts'
import { isStorable, parsePayload, unstorable } from './payload.ts'
import type { Decoded } from './codecs/decode.ts'
import { createHighRate, type HighRateOptions } from './high-rate.ts'
import { createProfiles, type NamedProfile, type Profile } from './profiles.ts'
import { type Fault, quarantine, type RejectionReason } from './quarantine.ts'
import { type Reading, readMessage, type ReadingResult } from './reading.ts'
import type { EventMatch } from './routes/routes.ts'
import type { SchemaCheck } from './schema-check.ts'

export interface Message {
  /** The authenticated publisher. */
  deviceId: string
  /** How it was authenticated; absent: by its certificate. */
  authMethod?: AuthMethod | undefined
  topic: string
  payload: Buffer
  qos: 0 | 1 | 2
  match: EventMatch
}

/** What becomes of a message: always something that takes a place in the ledger (G2). */
export interface Admitted {
  submission: Submission
  /** Set when the submission is a rejected event that stands for the message. */
  rejected?: Fault
  /** The device's clock is not to be believed; the event is kept and marked. */
  implausible?: true
  /** Why the time it gave cannot be read; the event is kept, dated by the gateway, and marked. */
  timeFault?: string
  /** Why it goes in the normal lane and not in the high one, where it was to go. */
  lowered?: LoweredBy
  /** Bytes of its payload that its schema does not know; absent: none. */
  skippedBytes?: number
}

/** `profile`: its device's does not allow the high lane. `rate`: its device puts too much there. */
export const loweredBy = ['profile', 'rate'] as const

export type LoweredBy = (typeof loweredBy)[number]

export type Admit = (message: Message) => Admitted

export interface AdmissionOptions {
  /** By the schemas in force; of one message it is asked once. */
  checkSchema: SchemaCheck
  types: Readonly<Record<string, TypeRule>>
  /** By their names; none: any device may send any type in any lane. */
  profiles?: Readonly<Record<string, Profile>>
  /** Of each device; absent: as much as it likes. */
  highPerDevice?: HighRateOptions | undefined
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
  const makeId = monotonicFactory(options.random)
  const rules = new Map(Object.entries(options.types))
  const { checkSchema, profiles = {}, highPerDevice, clock } = options
  const profileOf = createProfiles(profiles)
  const mayGoHigh = highPerDevice ? createHighRate(highPerDevice, clock) : () => true
  const accepting = { ...options, makeId, ruleOf: (type: string) => rules.get(type), mayGoHigh }
  return (message) => {
    const nowMs = options.clock.now()
    const outcome = read(message, options.payloadBytesMax)
    if (!outcome.ok) return reject(message, outcome, nowMs, accepting)
    const { reading, decoded } = outcome
    const refuse = (fault: Fault): Admitted =>
      reject(message, { fault, id: reading.id, decoded }, nowMs, accepting)
    const profile = profileOf(message.deviceId)
    if (profile?.allowsType(message.match.type) === false) return refuse(forbidden(profile, message))
    const schema = checkSchema(message.match.type, reading, message.match.route.schemaVersion)
    if (!schema.ok) return refuse(schema.fault)
    return accept(message, reading, { dataschema: schema.dataschema, profile, decoded }, nowMs, accepting)
  }
}

/** What was read of a payload that is not JSON. */
type DecodedPayload = Extract<Decoded, { ok: true }>

type Outcome = ReadingResult & { decoded?: DecodedPayload | undefined }

function read({ payload, match }: Message, payloadBytesMax: number): Outcome {
  if (payload.length > payloadBytesMax)
    return refused('PAYLOAD_TOO_LARGE', `${payload.length} bytes, and ${payloadBytesMax} are allowed`)
  if (!eventTypePattern.test(match.type) || isSystemType(match.type))
    return refused('TYPE_INVALID', `the topic's type is not one that a device may use`)
  if (match.subject === '') return refused('ENVELOPE_INVALID', `subject: the topic's is empty`)
  if (match.subject !== undefined && match.subject.length > limits.subjectLengthMax)
    return refused('ENVELOPE_INVALID', `subject: the topic's is over ${limits.subjectLengthMax} characters`)
  if (match.subject !== undefined && !isStorable(match.subject)) return { ok: false, fault: unstorable }
  const { decode } = match.route
  if (decode) return readDecoded(decode(payload), match)
  const parsed = parsePayload(payload)
  return parsed.ok ? readMessage(parsed.value, match) : parsed
}

function readDecoded(decoded: Decoded, match: EventMatch): Outcome {
  return decoded.ok ? { ...readMessage(decoded.value, match), decoded } : decoded
}

interface Accepting extends Pick<AdmissionOptions, 'clockSkewMaxMs' | 'timeAgeMaxMs' | 'quarantineBytesMax'> {
  makeId: (nowMs: number) => string
  ruleOf: (type: string) => TypeRule | undefined
  mayGoHigh: (deviceId: string) => boolean
}

interface Accepted {
  dataschema: string | undefined
  profile: NamedProfile | undefined
  decoded: DecodedPayload | undefined
}

function accept(
  message: Message,
  reading: Reading,
  { dataschema, profile, decoded }: Accepted,
  nowMs: number,
  accepting: Accepting,
): Admitted {
  const { makeId, ruleOf, clockSkewMaxMs, timeAgeMaxMs } = accepting
  const { deviceId, authMethod, match, qos } = message
  const timeMs = reading.time === undefined ? undefined : msOf(reading.time)
  const implausible = timeMs !== undefined && isImplausible(timeMs, nowMs, clockSkewMaxMs, timeAgeMaxMs)
  // JSON leaves out what is undefined.
  const candidate: { [Name in keyof Candidate]: Candidate[Name] | undefined } = {
    specversion: '1.0',
    id: idOf(reading, message) ?? makeId(nowMs),
    source: deviceSource(deviceId),
    type: match.type,
    subject: reading.subject,
    time: reading.time ?? new Date(nowMs).toISOString(),
    timestatus: reading.timeFault === undefined ? (implausible ? 'implausible' : undefined) : 'unreadable',
    datacontenttype: 'application/json',
    dataschema,
    partitionkey: deviceId,
    authmethod: authMethod === 'password' ? authMethod : undefined,
    traceparent: reading.traceparent,
    expirytime: reading.expirytime,
    ...(decoded && asItCame(message.payload, decoded)),
    ...reading.extensions,
    data: reading.data,
  }
  const rule = ruleOf(match.type)
  const { lane, lowered } = laneOf(message, rule, profile, accepting)
  const submission: Submission = { candidate: writeCandidate(candidate as Candidate), lane, qos }
  const ttlMs = timeToLive(match.route.ttl ?? rule?.ttl, reading.expirytime, timeMs ?? nowMs)
  if (ttlMs !== undefined) submission.ttlMs = ttlMs
  const admitted: Admitted = implausible ? { submission, implausible } : { submission }
  if (reading.timeFault !== undefined) admitted.timeFault = reading.timeFault
  if (lowered !== undefined) admitted.lowered = lowered
  if (decoded && decoded.skippedBytes > 0) admitted.skippedBytes = decoded.skippedBytes
  return admitted
}

/** Data that is not what the device sent says how it was written, and of what it was made. */
function asItCame(
  payload: Buffer,
  { format, skippedBytes }: DecodedPayload,
): Pick<Candidate, 'payloadformat' | 'payloadsha256' | 'payloadskipped'> {
  return {
    payloadformat: format,
    payloadsha256: hash('sha256', payload, 'hex'),
    ...(skippedBytes > 0 && { payloadskipped: skippedBytes }),
  }
}

/** A route of named devices has its lane for them by that; elsewhere their profile has to allow it. */
function laneOf(
  { deviceId, match: { route } }: Message,
  rule: TypeRule | undefined,
  profile: NamedProfile | undefined,
  { mayGoHigh }: Pick<Accepting, 'mayGoHigh'>,
): { lane: Lane; lowered?: LoweredBy } {
  const lane = route.lane ?? rule?.lane ?? 'normal'
  if (lane === 'normal') return { lane }
  const isGiven = route.lane !== undefined && route.devices !== undefined
  if (!isGiven && profile?.allowsLane(lane) === false) return { lane: 'normal', lowered: 'profile' }
  return mayGoHigh(deviceId) ? { lane } : { lane: 'normal', lowered: 'rate' }
}

function forbidden({ name }: NamedProfile, { match: { type } }: Message): Fault {
  return {
    reason: 'TYPE_FORBIDDEN',
    detail: `the profile ${name}, which this device is in, does not allow ${type}`,
  }
}

/**
 * The ID of an event that brought one of its own: `<topic>#<id>`, so that whatever publishes to another topic of the device
 * may count for itself. A CloudEvent's is unique within its source (CloudEvents 1.0, 3.1), and taken as it is where the
 * device speaks for itself; elsewhere a bridge may hand on those of many. Whatever routes there are besides makes no
 * difference, so that no change of them makes one reading two events or two readings one. No topic holds a `#`
 * [MQTT-3.3.2-2], so that no two pairs are one ID. What is too long for an event's ID, or not fit for one, is `#` and a
 * SHA-256 of it.
 */
function idOf({ id, isCloudEvent }: Reading, { deviceId, topic, match }: Message): string | undefined {
  if (id === undefined) return id
  if (isCloudEvent && topic === `devices/${deviceId}/events/${match.type}`) return id
  const text = `${topic}#${id}`
  return eventIdPattern.test(text) ? text : `#${hash('sha256', text, 'base64url')}`
}

function reject(
  { deviceId, authMethod, topic, payload, match, qos }: Message,
  { fault, id, decoded }: { fault: Fault; id?: string | undefined; decoded?: DecodedPayload | undefined },
  nowMs: number,
  { makeId, quarantineBytesMax }: Accepting,
): Admitted {
  const time = new Date(nowMs).toISOString()
  const { decode, schemaVersion } = match.route
  const how = { format: decode?.format, decoded, schemaVersion }
  const rejected = {
    deviceId,
    authMethod,
    topic,
    payload,
    type: match.type,
    id,
    ownId: makeId(nowMs),
    time,
    ...how,
  }
  const candidate = writeCandidate(quarantine(rejected, fault, quarantineBytesMax))
  return { submission: { candidate, lane: 'normal', qos }, rejected: fault }
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
  if (expiry === undefined) return ttlMs
  return Math.min(ttlMs ?? Number.POSITIVE_INFINITY, Math.max(0, msOf(expiry) - datedMs))
}
