import { TidegateError } from '../src/errors.ts'
import { add } from './session-quota.ts'

/**
 * The QoS 2 messages that were taken and are not yet released, by session and packet ID: each has a record by which it
 * is known when it is sent again. They are bounded for each device (G7), asked before anything is made of a message.
 */
export class Unreleased {
  readonly #perDeviceMax: number
  readonly #deviceOf: (clientId: string) => string
  /** Whether there is a record of it yet. */
  readonly #bySession = new Map<string, Map<number, boolean>>()
  readonly #ofDevice = new Map<string, number>()

  constructor(perDeviceMax: number, deviceOf: (clientId: string) => string) {
    this.#perDeviceMax = perDeviceMax
    this.#deviceOf = deviceOf
  }

  /** False at the bound. One that is sent again needs no room. */
  take(clientId: string, messageId: number): boolean {
    if (this.#bySession.get(clientId)?.has(messageId)) return true
    if ((this.#ofDevice.get(this.#deviceOf(clientId)) ?? 0) >= this.#perDeviceMax) return false
    this.#set(clientId, messageId, false)
    return true
  }

  /** It could not be acknowledged: unless there is a record of it, it does not count. */
  giveBack(clientId: string, messageId: number): void {
    if (this.#bySession.get(clientId)?.get(messageId) === false) this.release(clientId, messageId)
  }

  stored(clientId: string, messageId: number): void {
    this.#set(clientId, messageId, true)
  }

  release(clientId: string, messageId: number): void {
    const session = this.#bySession.get(clientId)
    if (!session?.delete(messageId)) return
    if (session.size === 0) this.#bySession.delete(clientId)
    add(this.#ofDevice, this.#deviceOf(clientId), -1)
  }

  releaseAll(clientId: string): void {
    add(this.#ofDevice, this.#deviceOf(clientId), -(this.#bySession.get(clientId)?.size ?? 0))
    this.#bySession.delete(clientId)
  }

  #set(clientId: string, messageId: number, stored: boolean): void {
    const session = this.#bySession.get(clientId) ?? new Map<number, boolean>()
    this.#bySession.set(clientId, session)
    if (!session.has(messageId)) add(this.#ofDevice, this.#deviceOf(clientId), 1)
    session.set(messageId, stored)
  }
}

export function tooManyUnreleased(deviceId: string, max: number): TidegateError {
  return new TidegateError('UNRELEASED_MAX', {
    message: `${deviceId} has ${max} QoS 2 messages that it has not released`,
    retryable: false,
    hint: 'let it finish what it began; a kept session that is not used any more ends when its client ID connects with a clean one',
  })
}
