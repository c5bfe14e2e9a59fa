import type { Clock } from '../../src/clock.ts'
import type { Book } from '../fleet/book.ts'
import { grouped } from '../format.ts'

/** A run whose sensors have stopped, as seen by who waits for its end. */
export interface Draining {
  book: Pick<Book, 'totals'>
  /** Events of the run in the history. */
  stored(): Promise<number>
  /** Events in the gateway's outbox; undefined while nobody has looked. */
  buffered(): number | undefined
  /** What has not moved for so long is not waited for any more. */
  patienceMs: number
  /** Told once, in words, when the end lets itself be waited for. */
  onWaiting: (what: string) => void
  clock: Clock
}

/** When somebody asks what it waits for. */
const tellAfterMs = 5000

/**
 * Resolves with true when every message has its PUBACK, the outbox is empty, and the history holds what it must;
 * with false when nothing has moved for `patienceMs`. A server that does not answer has moved nothing.
 */
export async function untilDrained(run: Draining, signal: AbortSignal): Promise<boolean> {
  const { book } = run
  const unacknowledged = (): number => book.totals().unacknowledged
  const acked = await untilStill(
    run,
    {
      done: () => unacknowledged() === 0,
      count: unacknowledged,
      awaited: () => counted(unacknowledged(), 'PUBACK', 'PUBACKs'),
    },
    signal,
  )
  const { acknowledged } = book.totals()
  let stored = 0
  const done = async (): Promise<boolean> => {
    stored = await run.stored().catch(() => stored)
    return run.buffered() === 0 && stored >= acknowledged
  }
  const awaited = (): string => {
    const buffered = run.buffered() ?? 0
    if (buffered > 0) return counted(buffered, 'event in the outbox', 'events in the outbox')
    return counted(
      acknowledged - stored,
      'acknowledged event that is not in the history yet',
      'acknowledged events that are not in the history yet',
    )
  }
  const stillCount = (): number => stored - (run.buffered() ?? 0)
  return (await untilStill(run, { done, count: stillCount, awaited }, signal)) && acked
}

function counted(count: number, one: string, many: string): string {
  return `${grouped(count)} ${count === 1 ? one : many}`
}

const askEveryMs = 100

/** Resolves with true when `done`, with false when what `count` counts has not moved for `patienceMs`. */
async function untilStill(
  { clock, patienceMs, onWaiting }: Pick<Draining, 'clock' | 'patienceMs' | 'onWaiting'>,
  {
    done,
    count,
    awaited,
  }: { done: () => Promise<boolean> | boolean; count: () => number; awaited: () => string },
  signal: AbortSignal,
): Promise<boolean> {
  const startedAtMs = clock.monotonicMs()
  let movedAtMs = startedAtMs
  let before = count()
  let told = false
  while (!(await done())) {
    if (!told && clock.monotonicMs() - startedAtMs > Math.min(tellAfterMs, patienceMs / 2)) {
      told = true
      onWaiting(awaited())
    }
    await clock.sleep(askEveryMs, signal)
    const now = count()
    if (now !== before) movedAtMs = clock.monotonicMs()
    if (clock.monotonicMs() - movedAtMs > patienceMs) return false
    before = now
  }
  return true
}
