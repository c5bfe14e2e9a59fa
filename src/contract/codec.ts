import { hash } from 'node:crypto'
import { TidegateError } from '../errors.ts'
import { type Candidate, type Event, eventSchema } from './event.ts'

/**
 * The wire form of an event and its hash chain (G2, G8).
 *
 * An event is one JSON object whose last member is `chain`:
 *
 *     {"specversion":"1.0", … ,"data":{…},"chain":"<43 characters>"}
 *
 * and chain = base64url(SHA-256(previous chain ‖ the text up to and not including `,"chain":`). Both parts are
 * hashed as UTF-8 text. The first event of an epoch follows `genesis(gateway, epoch)`. So whoever holds the
 * texts can verify them with nothing but a SHA-256 tool, and no canonical JSON is needed: the text *is* the
 * record, and every store keeps it verbatim.
 */
const chainMember = ',"chain":"'
const suffixLength = chainMember.length + 43 + 2
const chainSuffix = /^,"chain":"[\w-]{43}"\}$/

/** No event's text is shorter, with one character for each attribute that may be so short. */
export const textLengthMin = 300

function digest(previousChain: string, body: string): string {
  return hash('sha256', previousChain + body, 'base64url')
}

/** The chain value before sequence 1 of an epoch. */
export function genesis(gateway: string, epoch: string): string {
  return hash('sha256', `tidegate:${gateway}:${epoch}`, 'base64url')
}

export interface Encoded {
  /** The event's JSON text, chain included. */
  text: string
  chain: string
}

/** Gives an event its place in the chain. `event` is serialised in member order and must not hold `chain`. */
export function encodeEvent(event: Omit<Event, 'chain'>, previousChain: string): Encoded {
  return chained(JSON.stringify(event).slice(0, -1), previousChain)
}

/** An event's place in the ledger, and when it got it. */
export type Place = Pick<Event, 'gateway' | 'epoch' | 'sequence' | 'recordedtime'>

/** A candidate as its text, with those of its attributes that an outbox goes by. */
export interface WrittenCandidate extends Pick<Candidate, 'id' | 'source' | 'type' | 'partitionkey'> {
  /** One JSON object. Text waits in memory at its own size; what it was read from can be thirty times as large (G7). */
  text: string
}

/** Makes an event's text, once: from here on it is carried as it is. */
export function writeCandidate(candidate: Candidate): WrittenCandidate {
  const { id, source, type, partitionkey } = candidate
  return { id, source, type, partitionkey, text: JSON.stringify(candidate) }
}

/**
 * Gives a candidate's text its place in the ledger and the chain, the place first. None of the place's texts can hold
 * a character that JSON escapes.
 */
export function encodeCandidate(text: string, place: Place, previousChain: string): Encoded {
  const { gateway, epoch, sequence, recordedtime } = place
  const start = `{"gateway":"${gateway}","epoch":"${epoch}","sequence":${sequence},"recordedtime":"${recordedtime}",`
  return chained(start + text.slice(1, -1), previousChain)
}

/** `body`: all of the text that comes before the chain. */
function chained(body: string, previousChain: string): Encoded {
  // Joined once: the text is a part of what is hashed, so that its characters are not copied again.
  const hashed = previousChain + body
  const chain = hash('sha256', hashed, 'base64url')
  return { text: `${hashed.slice(previousChain.length)}${chainMember}${chain}"}`, chain }
}

/** The chain value that an event's text claims, or undefined if it does not end in one. */
export function claimedChain(text: string): string | undefined {
  const suffix = text.slice(-suffixLength)
  if (!suffix.startsWith(chainMember) || !suffix.endsWith('"}')) return undefined
  return suffix.slice(chainMember.length, -2)
}

/** Whether bytes can be an event's text, by their length and their end: without reading them, so that what cannot is not read. */
export function endsAsEvent(text: Buffer): boolean {
  return text.length >= textLengthMin && chainSuffix.test(text.toString('latin1', text.length - suffixLength))
}

/** Whether `text` follows `previousChain`: false when it was altered, or does not come next. */
export function verifyChain(text: string, previousChain: string): boolean {
  return claimedChain(text) === digest(previousChain, text.slice(0, -suffixLength))
}

/**
 * Reads an event from the wire.
 * @throws TidegateError `EVENT_UNREADABLE` (not retryable) naming each fault by path.
 */
export function decodeEvent(text: string): Event {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (cause) {
    throw new TidegateError('EVENT_UNREADABLE', {
      message: 'the message is not JSON',
      retryable: false,
      hint: 'publish CloudEvents 1.0 in structured JSON; see docs/WIRE.md',
      cause,
    })
  }
  const result = eventSchema.safeParse(parsed)
  if (!result.success) {
    const faults = result.error.issues.map(
      (issue) => `${issue.path.join('.') || '(event)'}: ${issue.message}`,
    )
    throw new TidegateError('EVENT_UNREADABLE', {
      message: `the event's envelope is invalid: ${faults.slice(0, 8).join('; ')}`,
      retryable: false,
      hint: 'see docs/WIRE.md for the envelope',
    })
  }
  return parsed as Event
}
