import { codeOf, messageOf } from '../../src/errors.ts'
import { headers as names } from '../../src/contract/wire.ts'
import type { Delivery, Headers, Letter } from '../amqp/delivery.ts'

/** One failed attempt, as listed in the `tidegate-failures` header. */
export interface Failure {
  attempt: number
  at: string
  code: string
  message: string
}

export interface Failing {
  delivery: Delivery
  error: unknown
  group: string
  instance: string
  nowMs: number
}

/** A header frame must fit into one AMQP frame, and a broker keeps headers in memory (G7). */
const messageBytesMax = 1024
const codeLengthMax = 100
const listedMessageLengthMax = 160
const listedFailuresMax = 10
const foreignHeadersLengthMax = 16_384
/** Written by the broker on its way; republishing them would only mislead. */
const brokerHeader = /^x-(death|first-death|last-death|delivery-count|acquired-count|opt-)/

/** The letter to a rung: attempt counted up, the failure added to the story. */
export function retryLetter(failing: Failing): Letter {
  return letter(failing, failing.delivery.attempt + 1)
}

/** The letter to the dead: the attempt header tells how many attempts were made. */
export function deadLetter(failing: Failing): Letter {
  return letter(failing, failing.delivery.attempt)
}

function letter({ delivery, error, group, instance, nowMs }: Failing, attempt: number): Letter {
  const at = new Date(nowMs).toISOString()
  const before = delivery.headers
  const code = codeOf(error).slice(0, codeLengthMax)
  const failure = { attempt: delivery.attempt, at, code, message: messageOf(error) }
  return {
    body: delivery.text,
    properties: delivery.properties,
    headers: {
      ...foreignHeaders(before),
      [names.attempt]: attempt,
      [names.group]: group,
      [names.instance]: instance,
      [names.originalExchange]: before[names.originalExchange] ?? delivery.exchange,
      [names.originalRoutingKey]: before[names.originalRoutingKey] ?? delivery.routingKey,
      [names.errorCode]: failure.code,
      [names.errorMessage]: cutUtf8(failure.message, messageBytesMax),
      [names.firstFailedAt]: before[names.firstFailedAt] ?? at,
      [names.lastFailedAt]: at,
      [names.failures]: JSON.stringify([...readFailures(before), brief(failure)].slice(-listedFailuresMax)),
    },
  }
}

/** What the publisher put there, unless it is so much that the letter might not fit any more. */
function foreignHeaders(headers: Headers): Headers {
  const kept = Object.entries(headers).filter(
    ([name, value]) => !brokerHeader.test(name) && typeof value !== 'object',
  )
  const length = kept.reduce((sum, [name, value]) => sum + name.length + String(value).length, 0)
  return length <= foreignHeadersLengthMax ? Object.fromEntries(kept) : {}
}

/** The story so far; empty if there is none, or if it is not ours. */
export function readFailures(headers: Headers): Failure[] {
  const text = headers[names.failures]
  if (typeof text !== 'string') return []
  try {
    const failures: unknown = JSON.parse(text)
    return Array.isArray(failures) ? (failures as Failure[]) : []
  } catch {
    return []
  }
}

function brief(failure: Failure): Failure {
  return { ...failure, message: failure.message.slice(0, listedMessageLengthMax) }
}

/** Cuts at a character, not inside one. */
function cutUtf8(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text, 'utf8')
  if (bytes.length <= bytesMax) return text
  return new TextDecoder().decode(bytes.subarray(0, bytesMax - 3), { stream: true }) + '…'
}
