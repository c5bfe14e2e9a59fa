import type { Clock } from '../../src/clock.ts'
import type { Book } from '../fleet/book.ts'

/** A run whose sensors have stopped, as seen by who waits for its end. */
export interface Draining {
  book: Pick<Book, 'totals'>
  /** Events of the run in the history. */
  stored(): Promise<number>
  /** Letters that the run has written. */
  letters(): Promise<number>
  /** Events in the gateway's outbox; undefined while nobody has looked. */
  buffered(): number | undefined
  /** What has not moved for so long is not waited for any more. */
  patienceMs: number
  clock: Clock
}

/**
 * Resolves when every message has its PUBACK, the outbox is empty, and the history and the dead letters hold what they must; or when
 * nothing has moved for `patienceMs`. A server that does not answer has moved nothing.
 */
export async function untilDrained(run: Draining, signal: AbortSignal): Promise<void> {
  const { book } = run
  const unacknowledged = (): number => book.totals().unacknowledged
  await untilStill(run, { done: () => unacknowledged() === 0, count: unacknowledged }, signal)
  const { acknowledged, byFate } = book.totals()
  let stored = 0
  let written = 0
  const done = async (): Promise<boolean> => {
    stored = await run.stored().catch(() => stored)
    if (run.buffered() !== 0 || stored < acknowledged) return false
    written = await run.letters().catch(() => written)
    return written >= byFate.rejected.acknowledged
  }
  await untilStill(run, { done, count: () => stored - (run.buffered() ?? 0) }, signal)
}

const askEveryMs = 100

/** Resolves when `done`, or when what `count` counts has not moved for `patienceMs`. */
async function untilStill(
  { clock, patienceMs }: Pick<Draining, 'clock' | 'patienceMs'>,
  { done, count }: { done: () => Promise<boolean> | boolean; count: () => number },
  signal: AbortSignal,
): Promise<void> {
  let movedAtMs = clock.monotonicMs()
  let before = count()
  while (!(await done())) {
    await clock.sleep(askEveryMs, signal)
    const now = count()
    if (now !== before) movedAtMs = clock.monotonicMs()
    if (clock.monotonicMs() - movedAtMs > patienceMs) return
    before = now
  }
}
