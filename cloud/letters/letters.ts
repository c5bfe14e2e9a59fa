import { shortText } from '../../src/amqp/property-block.ts'
import { headers as names } from '../../src/contract/wire.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import type { Delivery, Enclosure, Headers, Letter, MessageProperties } from '../amqp/delivery.ts'
import { letterOf, replayOf } from '../replays/replayed.ts'
import { addFailure, attemptOf, type Failure, listed } from './story.ts'
import { stackOf } from './stack.ts'

export interface Waiting {
  delivery: Delivery
  group: string
  instance: string
}

export interface Failing extends Waiting {
  error: unknown
  nowMs: number
}

/**
 * A header frame must fit into one AMQP frame, and a broker keeps headers in memory (G7). Together these are half of the 128 KiB
 * that RabbitMQ allows a frame by itself.
 */
const messageBytesMax = 1024
const foreignBytesMax = 16_384
const blockBytesMax = 12_288
/** AMQP lets a frame have 4 KiB at the least. */
const barestMessageBytesMax = 256

/** Written by the broker on its way; republishing them would only mislead. */
const brokerHeader = /^x-(death|first-death|last-death|delivery-count|acquired-count|opt-)/
/** Ours are set anew, but for what a gateway says of a batch; with CC and BCC RabbitMQ would send copies to queues that the publisher names. */
const notTakenOver = /^(tidegate-(?!batch-)|CC$|BCC$)/
/** From here on the client takes a number for a whole one of 64 bits, which it need not be. */
const numberMax = 2 ** 50

/** The letter to a rung: attempt counted up, the failure added to the story. */
export function retryLetter(failing: Failing): Letter {
  return letter(failing, attemptOf(failing.delivery, failing.error) + 1)
}

/** A dead letter's copy for other tools: the attempt header tells how many attempts were made, another the number of the letter. */
export function mirrorLetter(failing: Failing, number: number): Letter {
  return letter(failing, failing.delivery.attempt, { [names.mirroredLetter]: number })
}

/**
 * What goes with an event that waits behind one that failed, so that it comes back as from a rung: it has not failed itself, and what it
 * told before it still tells.
 */
export function waitingEnclosure(waiting: Waiting): Enclosure {
  const { delivery } = waiting
  const taken = takenOver(delivery)
  const told = Object.entries(toldBefore(delivery)).filter(([name]) => name.startsWith('tidegate-'))
  const earlier = originalProperties(delivery.headers)
  const whole = taken.whole && earlier === undefined
  return {
    properties: taken.properties,
    headers: {
      ...taken.headers,
      ...Object.fromEntries(told),
      ...origins(waiting, delivery.attempt),
      ...(!whole && { [names.originalProperties]: earlier ?? blockOf(delivery) }),
    },
  }
}

/**
 * Nothing that a publisher wrote may keep its message from being set aside (G5): what is taken over of it is bounded, and what
 * is not taken over goes along as the bytes it came in.
 */
function letter(failing: Failing, attempt: number, more: Headers = {}): Letter {
  const { delivery, error, nowMs } = failing
  const at = new Date(nowMs).toISOString()
  const message = messageOf(error)
  const failure: Failure = { attempt: attemptOf(delivery, error), at, code: codeOf(error), message }
  const essential = { ...essentials(failing, attempt, at), ...more }
  const stack = stackOf(error)
  const ours = {
    ...essential,
    [names.errorMessage]: cutUtf8(message, messageBytesMax),
    [names.failures]: listed(addFailure(delivery.headers, failure)),
    ...(stack !== undefined && { [names.errorStack]: stack }),
  }
  const taken = takenOver(delivery)
  const original = { [names.originalProperties]: originalProperties(delivery.headers) ?? blockOf(delivery) }
  const { properties, headers } = foreignOf(delivery)
  return {
    body: delivery.text,
    properties,
    headers: { ...headers, ...ours },
    barer: [
      { properties: taken.properties, headers: { ...ours, ...original } },
      {
        properties: taken.properties,
        headers: { ...essential, [names.errorMessage]: cutUtf8(message, barestMessageBytesMax) },
      },
    ],
  }
}

/** What its publisher gave a message: what is bounded and can be sent again, and the rest as the bytes it came in, base64. */
export function foreignOf(delivery: Delivery): Enclosure {
  const { properties, headers, whole } = takenOver(delivery)
  const earlier = originalProperties(delivery.headers)
  if (whole && earlier === undefined) return { properties, headers }
  return { properties, headers: { ...headers, [names.originalProperties]: earlier ?? blockOf(delivery) } }
}

/** What an operator and the next attempt cannot do without. */
export function essentials(failing: Failing, attempt: number, at: string): Headers {
  return {
    ...origins(failing, attempt),
    [names.errorCode]: codeOf(failing.error),
    [names.firstFailedAt]: timeIn(toldBefore(failing.delivery), names.firstFailedAt) ?? at,
    [names.lastFailedAt]: at,
  }
}

/** Where it came from, and how far it is. */
function origins({ delivery, group, instance }: Waiting, attempt: number): Headers {
  const { exchange, routingKey } = delivery
  const before = toldBefore(delivery)
  const sent = letterOf(delivery)
  const mark = replayOf(delivery)
  const user = textIn(before, names.originalUser) ?? delivery.publisher
  return {
    [names.attempt]: attempt,
    [names.group]: group,
    [names.instance]: instance,
    [names.originalExchange]: shortText(textIn(before, names.originalExchange) ?? exchange),
    [names.originalRoutingKey]: shortText(textIn(before, names.originalRoutingKey) ?? routingKey),
    [names.originalQueue]: delivery.queue,
    // Of what it is the replay goes with it wherever it waits, and back.
    ...(sent && { [names.letter]: sent.letter }),
    ...(mark && { [names.replay]: mark.replay }),
    ...(mark?.generation !== undefined && { [names.generation]: mark.generation }),
    ...(user !== undefined && { [names.originalUser]: shortText(user) }),
  }
}

/** Anybody who publishes to the exchange of all can write what we write; what comes by the default exchange is a letter of ours. */
function toldBefore({ exchange, headers }: Delivery): Headers {
  return exchange === '' ? headers : {}
}

interface TakenOver extends Enclosure {
  /** Nothing that the publisher wrote is missing. */
  whole: boolean
}

/** What the publisher wrote, as far as the client has bytes for it and there is not too much of it. */
function takenOver({ headers, properties, propertyFault, hasMoreProperties }: Delivery): TakenOver {
  const foreign = Object.entries(headers).filter(
    ([name]) => !brokerHeader.test(name) && !notTakenOver.test(name),
  )
  const kept = foreign.filter(([name, value]) => Buffer.byteLength(name) <= 255 && isPlain(value))
  const bytes = kept.reduce((sum, [name, value]) => sum + Buffer.byteLength(name + String(value)), 0)
  const bounded = boundedProperties(properties)
  const fits = bytes <= foreignBytesMax
  return {
    headers: fits ? Object.fromEntries(kept) : {},
    properties: bounded.properties,
    whole:
      propertyFault === undefined &&
      !hasMoreProperties &&
      bounded.whole &&
      fits &&
      kept.length === foreign.length,
  }
}

function isPlain(value: unknown): boolean {
  if (typeof value === 'number') return Math.abs(value) < numberMax
  return typeof value === 'string' || typeof value === 'boolean'
}

function boundedProperties(properties: MessageProperties): { properties: MessageProperties; whole: boolean } {
  const { timestamp, ...texts } = properties
  const bounded = Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, shortText(text)]))
  const timely = timestamp === undefined || (Number.isSafeInteger(timestamp) && timestamp >= 0)
  return {
    properties: { ...bounded, ...(timestamp !== undefined && timely && { timestamp }) },
    whole: timely && Object.entries(texts).every(([name, text]) => bounded[name] === text),
  }
}

/** As the letter before this one has kept them. */
function originalProperties(headers: Headers): string | undefined {
  const kept = headers[names.originalProperties]
  return typeof kept === 'string' && kept.length <= (blockBytesMax / 3) * 4 ? kept : undefined
}

function blockOf({ propertyBlock }: Delivery): string {
  return propertyBlock.subarray(0, blockBytesMax).toString('base64')
}

export function textIn(headers: Headers, name: string): string | undefined {
  const text = headers[name]
  return typeof text === 'string' ? text : undefined
}

/** As `Date` writes it, of a year that PostgreSQL has as well. */
export function timeIn(headers: Headers, name: string): string | undefined {
  const text = textIn(headers, name)
  const isTime = text !== undefined && /^(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(text)
  const at = isTime ? new Date(text) : undefined
  return at !== undefined && !Number.isNaN(at.getTime()) && at.toISOString() === text ? text : undefined
}

/** Cuts at a character, not inside one. */
function cutUtf8(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text, 'utf8')
  if (bytes.length <= bytesMax) return text
  return new TextDecoder().decode(bytes.subarray(0, bytesMax - 3), { stream: true }) + '…'
}
