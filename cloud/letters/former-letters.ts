import { isUtf8 } from 'node:buffer'
import { backoffMs } from '../../src/backoff.ts'
import type { Clock, Random } from '../../src/clock.ts'
import { decodeEvent } from '../../src/contract/codec.ts'
import type { Event } from '../../src/contract/event.ts'
import { formerDeadQueue, headers as names } from '../../src/contract/wire.ts'
import { codeIn, codeOf, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { AmqpConnection } from '../amqp/connection-rabbit.ts'
import { type Delivery, type Headers, readAttempt } from '../amqp/delivery.ts'
import { startSubscription } from '../amqp/subscription-rabbit.ts'
import { countsOf } from '../amqp/topology-rabbit.ts'
import type { Storage } from '../database/storage.ts'
import { addLetters } from './adding.ts'
import { aboutOf, type DeadLetter, type LetterBox } from './dead-letters.ts'
import { causesOf } from './fingerprint.ts'
import { letterKey } from './key.ts'
import { foreignOf, textIn, timeIn } from './letters.ts'
import { readFailures } from './story.ts'

export interface FormerLettersOptions {
  group: string
  consuming: AmqpConnection
  publishing: AmqpConnection
  storage: Storage
  letters: LetterBox
  clock: Clock
  random: Random
  log: Logger
}

/** Most that are in our hands at once. */
const prefetch = 100
/** A former version that runs beside this one makes the queue if it is missing. */
const lookEveryMs = 60_000
/** Without another letter for so long, what there was is said to be moved. */
const quietMs = 1_000
const backoff = { delayMsMin: 500, delayMsMax: 10_000 }

/**
 * Moves the letters of former versions into PostgreSQL as long as their queue is there: committed, then acknowledged, so that none is
 * lost between the two, and one that comes twice is one, also if people have closed its letter meanwhile (G4, G5). The queue is left: RabbitMQ deletes no quorum queue on condition that
 * it is empty, and an instance of a former version may be writing to it.
 */
export function startFormerLetters(options: FormerLettersOptions): { close(): Promise<void> } {
  const { group, publishing, consuming, clock, random, log } = options
  const queue = formerDeadQueue(group)
  const stopping = new AbortController()
  const { signal } = stopping
  const mover = new Mover(options, signal)

  async function run(): Promise<void> {
    for (let failures = 0; !signal.aborted;) {
      try {
        if ((await countsOf(publishing, queue)) !== undefined) break
        failures = 0
        await clock.sleep(lookEveryMs, signal).catch(() => {})
      } catch (error) {
        if (failures++ === 0)
          log.warn({ queue, code: codeOf(error) }, 'cannot see whether there are letters of a former version')
        await clock.sleep(backoffMs(failures, backoff, random), signal).catch(() => {})
      }
    }
    if (signal.aborted) return
    const subscription = startSubscription({
      connection: consuming,
      queue,
      partition: 0,
      home: queue,
      prefetch,
      onDelivery: (delivery) => mover.take(delivery),
      onMissing: async () => true,
      isHeld: () => mover.held,
      clock,
      random,
      log,
    })
    await mover.run()
    await subscription.close()
  }

  const running = run()
  return {
    close() {
      stopping.abort()
      mover.wake()
      return running
    },
  }
}

class Mover {
  readonly #options: FormerLettersOptions
  readonly #signal: AbortSignal
  #waiting: Delivery[] = []
  #wake: (() => void) | undefined
  #moved = 0
  held = false

  constructor(options: FormerLettersOptions, signal: AbortSignal) {
    this.#options = options
    this.#signal = signal
  }

  take(delivery: Delivery): void {
    this.#waiting.push(delivery)
    this.wake()
  }

  wake(): void {
    this.#wake?.()
    this.#wake = undefined
  }

  async run(): Promise<void> {
    const { clock, random } = this.#options
    for (let outages = 0; !this.#signal.aborted;) {
      this.#waiting = this.#waiting.filter(({ lost }) => !lost)
      if (this.#waiting.length === 0) {
        await this.#more()
        continue
      }
      try {
        // A copy: what comes meanwhile is not committed with it.
        await this.#move([...this.#waiting])
        outages = 0
        this.held = false
      } catch (outage) {
        if (this.#signal.aborted) return
        this.#tellHeld(outage)
        await clock.sleep(backoffMs(++outages, backoff, random), this.#signal).catch(() => {})
      }
    }
  }

  async #move(some: readonly Delivery[]): Promise<void> {
    const { group, storage, letters, clock } = this.#options
    const full = letters.full(group)
    if (full) throw full
    const nowMs = clock.now()
    const { lettersIn } = letters
    const made = some.map((delivery) => formerLetterOf(delivery, group, nowMs))
    await addLetters(made, { storage, lettersIn, cutOff: this.#signal })
    this.#waiting = this.#waiting.slice(some.length)
    this.#moved += some.length
    for (const delivery of some) delivery.ack()
  }

  /** Resolves with the next one. */
  async #more(): Promise<void> {
    const { clock, log, group } = this.#options
    const came = new Promise<void>((resolve) => (this.#wake = resolve))
    const told = clock.after(quietMs, () => {
      if (this.#moved > 0)
        log.info(
          { queue: formerDeadQueue(group), moved: this.#moved },
          'dead letters of a former version are in PostgreSQL now; when no instance of it is left and the queue is empty, delete it with rabbitmqctl delete_queue',
        )
      this.#moved = 0
    })
    if (this.#signal.aborted) this.wake()
    await came
    told.cancel()
  }

  #tellHeld(outage: unknown): void {
    if (!this.held)
      this.#options.log.warn(
        { code: codeOf(outage) },
        `moving dead letters of a former version later: ${messageOf(outage)}`,
      )
    this.held = true
  }
}

/** Where it comes from was not asked, or not believed: such a letter must not take the place of the event that it names (G9). */
const neverAsked = /^(PROVENANCE|[A-Z]+_UNREADABLE|MESSAGE_TOO_LARGE)$/

/** With its story as its headers tell it, whoever wrote them. Never throws. */
export function formerLetterOf(delivery: Delivery, group: string, nowMs: number): DeadLetter {
  const { headers, text: body } = delivery
  const now = new Date(nowMs).toISOString()
  const text = (name: string, otherwise: string, lengthMax = 1_024): string =>
    (textIn(headers, name) ?? otherwise).slice(0, lengthMax)
  const code = codeIn(text(names.errorCode, 'UNKNOWN', 100))
  const message = text(names.errorMessage, 'no error is told of')
  const stack = textIn(headers, names.errorStack)?.slice(0, 8_192)
  const event = eventOf(delivery)
  const about = aboutOf({ delivery, event })
  const { device, id, gateway, source, type } = about
  return {
    ...about,
    ...foreignOf(delivery),
    group,
    key: letterKey(delivery, neverAsked.test(code) ? undefined : event),
    body,
    routingKey: text(names.originalRoutingKey, delivery.routingKey, 255),
    queue: text(names.originalQueue, formerDeadQueue(group), 255),
    publisher: originalUserOf(headers),
    causes: causesOf({ group, code, type, message, stack, own: [device, id, gateway, source] }),
    code,
    message,
    stack,
    attempts: readAttempt(headers),
    failures: readFailures(headers),
    instance: text(names.instance, 'unknown', 64),
    version: undefined,
    firstFailedAt: timeIn(headers, names.firstFailedAt) ?? now,
    lastFailedAt: timeIn(headers, names.lastFailedAt) ?? now,
    sent: undefined,
    generation: undefined,
    mayBeClosed: true,
  }
}

function originalUserOf(headers: Headers): string | undefined {
  return textIn(headers, names.originalUser)?.slice(0, 255)
}

function eventOf({ text, propertyFault, batchFault }: Delivery): Event | undefined {
  if (propertyFault !== undefined || batchFault !== undefined || !isUtf8(text)) return undefined
  try {
    return decodeEvent(text.toString('utf8'))
  } catch {
    return undefined
  }
}
