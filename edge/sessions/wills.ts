import { setMaxListeners } from 'node:events'
import type { AuthMethod } from '../../src/contract/event.ts'
import type { Clock } from '../../src/clock.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import { UnderWay } from '../../src/under-way.ts'
import type { Ingest, Publish, Verdict } from '../admission/ingest.ts'

export type Will = Publish & {
  /** How its device was authenticated; absent: by its certificate. */
  authMethod?: AuthMethod | undefined
}

export interface KeptWill {
  clientId: string
  will: Will
}

/** A record of each will, for the next run. Only `read` fails when they cannot be read. */
export interface WillRecords {
  /** The connection is over: the key of its will's record, from now on in the caller's hands. */
  take(clientId: string, will: Will): string
  /** Keeps it whether or not its device comes back, and counts it at once. */
  keepOver(key: string, will: KeptWill): Promise<void>
  forget(key: string): Promise<void>
  /** How many are kept of connections of a device that are over. */
  overOf(deviceId: string): number
  /** Keys of those of connections that are over, and of those that an earlier run had when it ended. */
  left(): string[]
  /** Undefined: its device came back. */
  read(key: string): Promise<KeptWill | undefined>
}

export interface WillsOptions {
  records: WillRecords
  ingest: Pick<Ingest, 'publish'>
  clock: Pick<Clock, 'after'>
  /** Wills of one device that wait for room. */
  waitingPerDeviceMax: number
  deviceOf: (clientId: string) => string
  /** To who subscribed. */
  distribute: (clientId: string, will: Will) => void
  /** One was given up because too many of its device wait. */
  onGivenUp: (deviceId: string, error: TidegateError) => void
  /** One that was tried again could still not be published: it stays for the next round. */
  onPutOff: (error: unknown) => void
}

/**
 * The last words of devices whose connection is over. Nothing holds such a device back, so there is a bound of how
 * many of its wills wait for room (G7). One that could not be published, or that a stop or a crash found waiting, has
 * a record, and is tried again every few minutes, by the next run too.
 */
export interface Wills {
  /**
   * Of a connection that ended just now.
   * @throws TidegateError `WILLS_MAX`, or as `Ingest.publish` does
   */
  publish(clientId: string, will: Will): Promise<Verdict>
  /** Withdraws those that wait, and from now on whatever finds no room at once. Idempotent. */
  withdraw(): void
  /** Resolves when none is being published. */
  settled(): Promise<void>
}

/** Long enough for devices to come back after the gateway did: then they are not gone. */
const roundMs = 240_000
/** How long one of a round waits for room, before it is the next one's turn. */
const patienceMs = 5000

export function startWills(options: WillsOptions): Wills {
  const wills = new LastWords(options)
  wills.waitForRound()
  return wills
}

class LastWords implements Wills {
  readonly #options: WillsOptions
  readonly #stopping = new AbortController()
  /** Keys of those that are being published. */
  readonly #inHand = new Set<string>()
  readonly #underWay = new UnderWay()
  #nextRound: { cancel(): void } | undefined

  constructor(options: WillsOptions) {
    this.#options = options
    setMaxListeners(0, this.#stopping.signal)
  }

  publish(clientId: string, will: Will): Promise<Verdict> {
    return this.#underWay.track(this.#publish(clientId, will))
  }

  withdraw(): void {
    this.#nextRound?.cancel()
    this.#stopping.abort()
  }

  settled(): Promise<void> {
    return this.#underWay.settled()
  }

  waitForRound(): void {
    this.#nextRound = this.#options.clock.after(roundMs, () => {
      void this.#underWay.track(this.#round()).finally(() => {
        if (!this.#stopping.signal.aborted) this.waitForRound()
      })
    })
  }

  async #publish(clientId: string, will: Will): Promise<Verdict> {
    const { records, deviceOf, waitingPerDeviceMax, onGivenUp } = this.#options
    const key = records.take(clientId, will)
    const deviceId = deviceOf(clientId)
    const waiting = records.overOf(deviceId)
    if (waiting >= waitingPerDeviceMax) {
      const error = tooManyWait(deviceId, waiting)
      onGivenUp(deviceId, error)
      await records.forget(key)
      throw error
    }
    this.#inHand.add(key)
    try {
      await records.keepOver(key, { clientId, will })
      return await this.#admit(key, { clientId, will }, this.#stopping.signal)
    } finally {
      this.#inHand.delete(key)
    }
  }

  async #admit(key: string, { clientId, will }: KeptWill, signal: AbortSignal): Promise<Verdict> {
    const { records, ingest, deviceOf } = this.#options
    try {
      const verdict = await ingest.publish(
        { deviceId: deviceOf(clientId), authMethod: will.authMethod, signal },
        will,
      )
      // Before the will is distributed, which a stop does not wait for: the next run would repeat the event.
      if (verdict === 'acknowledge') await records.forget(key)
      return verdict
    } catch (error) {
      if (codeOf(error) === 'TOPIC_FORBIDDEN') await records.forget(key)
      throw error
    }
  }

  /** One after the other: they must not take the places of devices that wait for room. */
  async #round(): Promise<void> {
    for (const key of this.#options.records.left()) {
      if (this.#stopping.signal.aborted) return
      if (this.#inHand.has(key)) continue
      this.#inHand.add(key)
      await this.#again(key).catch(this.#options.onPutOff)
      this.#inHand.delete(key)
    }
  }

  async #again(key: string): Promise<void> {
    const { records, clock, distribute } = this.#options
    const kept = await records.read(key)
    if (!kept) return await records.forget(key)
    const patience = new AbortController()
    const timer = clock.after(patienceMs, () => patience.abort())
    try {
      const signal = AbortSignal.any([this.#stopping.signal, patience.signal])
      const verdict = await this.#admit(key, kept, signal)
      if (verdict === 'acknowledge') distribute(kept.clientId, kept.will)
    } finally {
      timer.cancel()
    }
  }
}

function tooManyWait(deviceId: string, waiting: number): TidegateError {
  return new TidegateError('WILLS_MAX', {
    message: `${waiting} wills of ${deviceId} wait for room in the outbox already`,
    retryable: false,
    hint: 'this one is given up; see that the uplink makes room in the outbox',
  })
}
