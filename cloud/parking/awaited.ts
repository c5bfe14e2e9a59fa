import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Storage } from '../database/storage.ts'
import { awaitedCodes } from '../letters/story.ts'
import type { ParkingIn } from './parking.ts'

/** What was in hand when schemas came was perhaps tried with those of before; it is put back by then, ms. */
const againAfterMs = 15_000
const retryAfterMs = 5_000

export interface ReleasingOptions {
  storage: Storage
  parkingIn: ParkingIn
  /** Those that run here. */
  groups: () => readonly string[]
  clock: Clock
  log: Logger
}

export interface Releasing {
  /** Has every parked device tried soon that waits for a schema, and those once more that were in hand. Never throws. */
  release(): void
  /** Idempotent. */
  close(): Promise<void>
}

/** Lets parked devices go on that wait for schemas, when there are others. Every instance does it for itself: each may know other schemas. */
export function startReleasing({ storage, parkingIn, groups, clock, log }: ReleasingOptions): Releasing {
  const stopping = new AbortController()
  let wanted = 0
  let running: Promise<void> | undefined

  /** Whether the database has been asked of every group. */
  async function releaseAll(): Promise<boolean> {
    try {
      for (const group of groups())
        for (const code of awaitedCodes)
          await storage.transaction(
            (tx) => parkingIn(tx).release(group, { code, retrying: true }),
            stopping.signal,
          )
      return true
    } catch (error) {
      if (!isAbort(error))
        log.warn({ code: codeOf(error) }, `what waits for schemas is released later: ${messageOf(error)}`)
      return false
    }
  }

  async function run(): Promise<void> {
    while (wanted > 0 && !stopping.signal.aborted) {
      const isDone = await releaseAll()
      if (isDone) wanted -= 1
      if (wanted > 0) await clock.sleep(isDone ? againAfterMs : retryAfterMs, stopping.signal).catch(() => {})
    }
    running = undefined
  }

  return {
    release() {
      wanted = 2
      running ??= run()
    },
    async close() {
      stopping.abort()
      await running
    },
  }
}
