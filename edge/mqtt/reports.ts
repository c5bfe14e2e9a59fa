import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import { createThrottledWarn, type ThrottledWarn } from '../../src/throttle.ts'
import { RefusedConnect } from './connect-rules.ts'
import type { Connection } from './connections.ts'
import { PacketError } from './door/violations.ts'
import type { ConnectionRefusal } from './entrance/identity.ts'
import type { RefusedConnection } from './entrance/refusal.ts'
import type { BrokerObserver, ConnectionEnding } from './observer.ts'
import { StandingLost } from './trust/standing.ts'

export interface ReportsOptions {
  observer: Pick<
    BrokerObserver,
    'connectionRefused' | 'connectionEnded' | 'subscriptionRefused' | 'published' | 'held'
  >
  clock: Clock
  log: Logger
}

const byCode: Readonly<Record<string, ConnectionEnding>> = {
  TOPIC_FORBIDDEN: 'topic-forbidden',
  SUBSCRIBER_SLOW: 'subscriber-slow',
  UNRELEASED_MAX: 'unreleased-max',
}

/** What aedes ends a connection for; it has no codes. */
const byMessage: Readonly<Record<string, ConnectionEnding>> = {
  'keep alive timeout': 'keep-alive',
  'connect did not arrive in time': 'no-connect',
  'drain timeout': 'subscriber-slow',
}

/** Longer texts are cut: a device chooses its topics and client IDs, and must not fill the log with them. */
const textLengthMax = 256

/** How a connection ended, or what a device was refused: for the log, one of many alike, and for the observer, each. */
export class Reports {
  readonly #observer: ReportsOptions['observer']
  readonly #log: Logger
  readonly #warnOfOne: ThrottledWarn

  constructor({ observer, clock, log }: ReportsOptions) {
    this.#observer = observer
    this.#log = log
    this.#warnOfOne = createThrottledWarn(log, clock, 10_000)
  }

  /** At the entrance: there is no session yet that could be told. */
  connectionRefused(reason: ConnectionRefusal, about: RefusedConnection): void {
    this.#observer.connectionRefused(reason)
    this.#warn(`${reason} ${keyOf(reason, about)}`, 'connection refused', { reason, ...about })
  }

  subscriptionForbidden(device: string, topic: string): void {
    this.#observer.subscriptionRefused()
    this.#warn(device, 'subscription refused', { code: 'TOPIC_FORBIDDEN', device, topic })
  }

  /** Of a SUBSCRIBE that would give its device more subscriptions than it may have. */
  subscriptionOneTooMany(device: string, max: number): void {
    this.#observer.subscriptionRefused()
    const detail = `a clean session has ${max} subscriptions, or the kept sessions of its device have; or its filters of more than 16 levels are too long together`
    this.#warn(`too many ${device}`, 'subscription refused', { code: 'SUBSCRIPTIONS_MAX', device, detail })
  }

  /** By an error of ours, by a CONNECT that is refused (told once), or in one of the many ways a network has. */
  connectionEnded(connection: Pick<Connection, 'deviceId' | 'refusal'> | undefined, error: Error): void {
    const device = connection?.deviceId
    const refusal = error instanceof RefusedConnect ? error : connection?.refusal
    const reason = endingOf(error)
    if (connection && refusal) {
      connection.refusal = undefined
      this.#observer.connectionRefused(refusal.reason)
      const about = { reason: refusal.reason, device, detail: refusal.message }
      this.#warn(`${refusal.reason} ${device}`, 'connection refused', about)
    } else if (reason) {
      this.#observer.connectionEnded(reason)
      const code = error instanceof TidegateError ? { code: error.code } : {}
      const about = { ...code, reason, device, detail: error.message }
      this.#warn(`${reason} ${device}`, 'connection closed', about)
    } else {
      this.#log.debug({ code: codeOf(error), device, detail: error.message }, 'connection ended')
    }
  }

  /** By a rate of `mqtt.limits`: nothing is lost, and its device waits. */
  held(device: string): void {
    this.#observer.held()
    this.#warn(`held ${device}`, 'a device is over its rate, and is not read for some time', { device })
  }

  willGivenUp(device: string, error: TidegateError): void {
    this.#observer.published('failed', 1)
    this.#warn(`${error.code} ${device}`, 'will given up', {
      code: error.code,
      device,
      detail: error.message,
    })
  }

  willPutOff(error: unknown): void {
    const code = codeOf(error)
    this.#warn(code, 'will put off', { code, detail: messageOf(error) })
  }

  /** Of aedes itself; it also calls this with nothing when there was none. */
  brokerFailed(error: unknown): void {
    if (error) this.#log.error({ code: codeOf(error), detail: messageOf(error) }, 'broker')
  }

  /** The key must not be a device's to choose, or each of its values would be a line. */
  #warn(key: string, message: string, about: Record<string, unknown>): void {
    const short = Object.entries(about).map(([name, value]) => [name, cut(value)] as const)
    this.#warnOfOne(key, message, Object.fromEntries(short))
  }
}

/** A crowd at the door may come from as many addresses as it likes: one line is for all of it. */
function keyOf(reason: ConnectionRefusal, { deviceId, address, claimed }: RefusedConnection): string {
  if (reason === 'handshakes-max' || reason === 'handshake-displaced') return ''
  return deviceId ?? `${address} ${bucketOf(claimed)}`
}

/**
 * Devices behind one address are told of one by one, as far as their names fall into different ones: whoever makes up names
 * gets no more lines than there are buckets.
 */
function bucketOf(claimed = ''): number {
  let sum = 0
  for (const character of claimed) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) % 65_521
  return sum % 16
}

/** Undefined: the network, or the device itself. */
function endingOf(error: Error): ConnectionEnding | undefined {
  if (error instanceof PacketError) return error.violation
  if (error instanceof StandingLost) return error.reason
  if (error instanceof TidegateError) return byCode[error.code] ?? 'other'
  return byMessage[error.message]
}

function cut(value: unknown): unknown {
  if (typeof value !== 'string' || value.length <= textLengthMax) return value
  return `${value.slice(0, textLengthMax)}… (${value.length} characters)`
}
