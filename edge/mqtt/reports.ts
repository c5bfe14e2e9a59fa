import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import { createThrottledWarn, type ThrottledWarn } from '../../src/throttle.ts'
import type { Connection } from './connections.ts'
import type { ConnectionRefusal } from './identity.ts'
import type { BrokerObserver } from './observer.ts'

export interface ReportsOptions {
  observer: Pick<BrokerObserver, 'connectionRefused' | 'subscriptionRefused' | 'published'>
  clock: Clock
  log: Logger
}

/** How a connection ended, or what a device was refused: for the log, one of many alike, and for the observer, each. */
export class Reports {
  readonly #observer: ReportsOptions['observer']
  readonly #log: Logger
  readonly #warn: ThrottledWarn

  constructor({ observer, clock, log }: ReportsOptions) {
    this.#observer = observer
    this.#log = log
    this.#warn = createThrottledWarn(log, clock, 10_000)
  }

  /** At the entrance: there is no session yet that could be told. */
  connectionRefused(reason: ConnectionRefusal, about: { address: string }): void {
    this.#observer.connectionRefused(reason)
    this.#warn(`${reason} ${about.address}`, 'connection refused', { reason, ...about })
  }

  subscriptionForbidden(clientId: string, device: string, topic: string): void {
    this.#observer.subscriptionRefused()
    this.#warn(clientId, 'subscription refused', { code: 'TOPIC_FORBIDDEN', device, topic })
  }

  /** By an error of ours, by a CONNECT that is refused (told once), or in one of the many ways a network has. */
  connectionEnded(connection: Pick<Connection, 'deviceId' | 'refusal'> | undefined, error: Error): void {
    const device = connection?.deviceId
    const refusal = connection?.refusal
    if (connection && refusal) {
      connection.refusal = undefined
      this.#observer.connectionRefused(refusal.reason)
      const about = { reason: refusal.reason, device, detail: refusal.message }
      this.#warn(`${refusal.reason} ${device}`, 'connection refused', about)
    } else if (error instanceof TidegateError) {
      const about = { code: error.code, device, detail: error.message }
      this.#warn(`${error.code} ${device}`, 'connection closed', about)
    } else {
      this.#log.debug({ code: codeOf(error), device, detail: error.message }, 'connection ended')
    }
  }

  willGivenUp(device: string, error: TidegateError): void {
    this.#observer.published('failed')
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
}
