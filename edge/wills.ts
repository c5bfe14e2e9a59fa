import { setMaxListeners } from 'node:events'
import { codeOf, TidegateError } from '../src/errors.ts'
import type { Ingest, Publish, Verdict } from './ingest.ts'

export interface WillsOptions {
  ingest: Pick<Ingest, 'publish'>
  /** Wills of one device that wait for room. */
  waitingPerDeviceMax: number
  deviceOf: (clientId: string) => string
  /** Removes the record of a will. Never throws. */
  forget: (clientId: string) => Promise<unknown>
  /** One was given up because too many of its device wait. */
  onGivenUp: (deviceId: string, error: TidegateError) => void
}

/**
 * The last words of devices whose connection is over. Nothing holds such a device back, so there is a bound of how
 * many of its wills wait for room (G7). One that a stop finds waiting is withdrawn and published by the next run.
 */
export interface Wills {
  /**
   * Of a connection that ended just now.
   * @throws TidegateError `WILLS_MAX`, or as `Ingest.publish` does
   */
  publish(clientId: string, will: Publish): Promise<Verdict>
  /** Its device has not come back since the gateway did. One that may not be published any more is dropped. */
  publishOfEarlierRun(clientId: string, will: Publish): Promise<Verdict>
  /** Withdraws those that wait, and from now on whatever finds no room at once. */
  withdraw(): void
  /** Resolves when none is being published. */
  settled(): Promise<void>
}

export function createWills({ ingest, deviceOf, forget, ...options }: WillsOptions): Wills {
  const stopping = new AbortController()
  setMaxListeners(0, stopping.signal)
  const waiting = new Map<string, number>()
  const ofEarlierRun = new Map<string, Promise<Verdict>>()
  const all = new Set<Promise<Verdict>>()

  async function admit(clientId: string, will: Publish): Promise<Verdict> {
    const publisher = { deviceId: deviceOf(clientId), clientId, signal: stopping.signal }
    try {
      const verdict = await ingest.publish(publisher, will)
      // Not left to aedes, which is not waited for when the gateway stops: the next run would repeat the event.
      if (verdict === 'acknowledge') await forget(clientId)
      return verdict
    } catch (error) {
      if (codeOf(error) === 'TOPIC_FORBIDDEN') await forget(clientId)
      throw error
    }
  }

  async function publish(clientId: string, will: Publish): Promise<Verdict> {
    const deviceId = deviceOf(clientId)
    const before = waiting.get(deviceId) ?? 0
    if (before >= options.waitingPerDeviceMax) {
      const error = tooManyWait(deviceId, before)
      options.onGivenUp(deviceId, error)
      throw error
    }
    waiting.set(deviceId, before + 1)
    try {
      return await admit(clientId, will)
    } finally {
      const left = (waiting.get(deviceId) ?? 1) - 1
      if (left > 0) waiting.set(deviceId, left)
      else waiting.delete(deviceId)
    }
  }

  function track(verdict: Promise<Verdict>): Promise<Verdict> {
    all.add(verdict)
    const forgotten = (): void => void all.delete(verdict)
    verdict.then(forgotten, forgotten)
    return verdict
  }

  return {
    publish: (clientId, will) => track(publish(clientId, will)),
    publishOfEarlierRun(clientId, will) {
      // aedes asks again every few minutes, also for one that still waits.
      const asked = ofEarlierRun.get(clientId)
      if (asked) return asked
      const verdict = admit(clientId, will).finally(() => ofEarlierRun.delete(clientId))
      ofEarlierRun.set(clientId, verdict)
      return track(verdict)
    },
    withdraw: () => stopping.abort(),
    async settled() {
      await Promise.allSettled(all)
    },
  }
}

function tooManyWait(deviceId: string, waiting: number): TidegateError {
  return new TidegateError('WILLS_MAX', {
    message: `${waiting} wills of ${deviceId} wait for room in the outbox already`,
    retryable: false,
    hint: 'this one is given up; see that the uplink makes room in the outbox',
  })
}
