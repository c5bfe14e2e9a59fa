import { setMaxListeners } from 'node:events'
import type { Clock } from '../../src/clock.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import type { Ingest, Publish, Verdict } from '../admission/ingest.ts'

export type Will = Publish

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
  distribute: (will: Will) => void
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

export function createWills(options: WillsOptions): Wills {
  const { records, ingest, clock, deviceOf } = options
  const stopping = new AbortController()
  setMaxListeners(0, stopping.signal)
  const inHand = new Set<string>()
  const all = new Set<Promise<unknown>>()
  let nextRound = clock.after(roundMs, beginRound)

  async function publish(clientId: string, will: Will): Promise<Verdict> {
    const key = records.take(clientId, will)
    const deviceId = deviceOf(clientId)
    const waiting = records.overOf(deviceId)
    if (waiting >= options.waitingPerDeviceMax) {
      const error = tooManyWait(deviceId, waiting)
      options.onGivenUp(deviceId, error)
      await records.forget(key)
      throw error
    }
    inHand.add(key)
    try {
      await records.keepOver(key, { clientId, will })
      return await admit(key, { clientId, will }, stopping.signal)
    } finally {
      inHand.delete(key)
    }
  }

  async function admit(key: string, { clientId, will }: KeptWill, signal: AbortSignal): Promise<Verdict> {
    try {
      const verdict = await ingest.publish({ deviceId: deviceOf(clientId), clientId, signal }, will)
      // Before it is distributed, which is not waited for when the gateway stops: the next run would repeat the event.
      if (verdict === 'acknowledge') await records.forget(key)
      return verdict
    } catch (error) {
      if (codeOf(error) === 'TOPIC_FORBIDDEN') await records.forget(key)
      throw error
    }
  }

  function beginRound(): void {
    void track(round()).finally(() => {
      if (!stopping.signal.aborted) nextRound = clock.after(roundMs, beginRound)
    })
  }

  /** One after the other: they must not take the places of devices that wait for room. */
  async function round(): Promise<void> {
    for (const key of records.left()) {
      if (stopping.signal.aborted) return
      if (inHand.has(key)) continue
      inHand.add(key)
      await again(key).catch(options.onPutOff)
      inHand.delete(key)
    }
  }

  async function again(key: string): Promise<void> {
    const kept = await records.read(key)
    if (!kept) return await records.forget(key)
    const patience = new AbortController()
    const timer = clock.after(patienceMs, () => patience.abort())
    try {
      const verdict = await admit(key, kept, AbortSignal.any([stopping.signal, patience.signal]))
      if (verdict === 'acknowledge') options.distribute(kept.will)
    } finally {
      timer.cancel()
    }
  }

  function track<T>(work: Promise<T>): Promise<T> {
    all.add(work)
    const over = (): void => void all.delete(work)
    work.then(over, over)
    return work
  }

  return {
    publish: (clientId, will) => track(publish(clientId, will)),
    withdraw() {
      nextRound.cancel()
      stopping.abort()
    },
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
