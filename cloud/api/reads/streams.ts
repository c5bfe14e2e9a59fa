import type { Clock } from '../../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../../src/errors.ts'
import type { Logger } from '../../../src/log.ts'
import { createThrottledWarn } from '../../../src/throttle.ts'
import type { Filter, FilteredPage } from '../../history/filtered-postgres.ts'
import type { Cursor } from '../../history/reader.ts'
import type { Tide } from '../../history/tide.ts'
import { createGate } from '../rules/gate.ts'
import { Refusal } from '../rules/problem.ts'
import { serverSent } from './server-sent.ts'

export interface StreamAsked {
  after: Cursor
  filter: Filter
  /** Who asks: each may have some streams. */
  who: string
  /** When its token ends, ms since the Unix epoch. */
  untilMs?: number | undefined
}

export interface StreamsOptions {
  /** @throws TidegateError `CURSOR_AHEAD`, `DATABASE_*` */
  read: (after: Cursor, filter: Filter, max: number) => Promise<FilteredPage>
  tide: Tide
  clock: Clock
  log: Logger
}

/** Streams of events, as server-sent events: all there is, and then what comes. */
export interface Streams {
  /** How many are open. */
  readonly count: number
  /** @throws Refusal `STREAMS_FULL` */
  open(asked: StreamAsked): ReadableStream<Uint8Array>
  /** Ends all; whoever followed goes on elsewhere after the last ID. Idempotent. */
  close(): void
}

const streamsMax = 32
const streamsOfOneMax = 4
const pageMax = 200
/** Says that it lives, and how far it is. */
export const heartbeatMs = 15_000
/** Whoever takes nothing for so long is let go: what waits is in history, not here (G7). */
const untakenMsMax = 60_000
/** Who asks is asked again who it is after so long: a token may have been taken back. */
const lifeMsMax = 900_000
/** Of all streams at a time: most connections for reading are left to who asks and waits for an answer. */
const readsUnderWayMax = 2
/** After a page that nothing was found on: whoever looks for what is rare leaves the database to others between. */
const emptyPauseMs = 250
const afterFaultMs = 1_000
const warnEveryMs = 60_000

export function createStreams(options: StreamsOptions): Streams {
  const { clock } = options
  const open = new Map<AbortController, string>()
  const closing = new AbortController()
  const warn = createThrottledWarn(options.log, clock, warnEveryMs)
  const gate = createGate({ underWayMax: readsUnderWayMax, waitingMax: streamsMax, full })
  const read: StreamsOptions['read'] = (...page) => gate.pass('', () => options.read(...page))

  function admit(who: string): AbortController {
    const ofOne = [...open.values()].filter((one) => one === who).length
    if (closing.signal.aborted || open.size >= streamsMax || ofOne >= streamsOfOneMax) throw full()
    const ending = new AbortController()
    open.set(ending, who)
    ending.signal.addEventListener('abort', () => open.delete(ending), { once: true })
    return ending
  }

  return {
    get count() {
      return open.size
    },
    open({ after, filter, who, untilMs = Infinity }) {
      const ending = admit(who)
      const end = (): void => ending.abort()
      const life = clock.after(Math.min(lifeMsMax, Math.max(0, untilMs - clock.now())), end)
      ending.signal.addEventListener('abort', () => life.cancel(), { once: true })
      const parts = follow({ ...options, read, after, filter, signal: ending.signal, warn })
      return pulled(parts, { end, signal: ending.signal, clock })
    },
    close() {
      closing.abort()
      for (const ending of open.keys()) ending.abort()
    },
  }
}

type Following = StreamsOptions &
  Pick<StreamAsked, 'after' | 'filter'> & {
    signal: AbortSignal
    warn: ReturnType<typeof createThrottledWarn>
  }

/** Pages as text, until aborted: nothing is read ahead of who takes it. */
async function* follow({
  read,
  tide,
  clock,
  after,
  filter,
  signal,
  warn,
}: Following): AsyncGenerator<string> {
  let cursor = after
  let toldAtMs = clock.monotonicMs()
  let isBehind = true
  yield serverSent.beginning
  while (!signal.aborted) {
    try {
      const { events, next, more } = await read(cursor, filter, pageMax)
      if (events.length > 0) yield events.map((event) => serverSent.event(event)).join('')
      cursor = next
      // That it lives, and once that all there was has come; both say where to go on.
      const isQuiet = events.length === 0 && clock.monotonicMs() - toldAtMs >= heartbeatMs
      const hasCaughtUp = isBehind && !more
      if (isQuiet || hasCaughtUp) yield serverSent.position(cursor)
      if (isQuiet || events.length > 0) toldAtMs = clock.monotonicMs()
      if (more) {
        if (events.length === 0) await clock.sleep(emptyPauseMs, signal)
        continue
      }
      isBehind = false
      await tide.beyond(cursor, heartbeatMs, signal)
    } catch (error) {
      // Whoever comes again is told which it is.
      if (isAbort(error) || codeOf(error) === 'CURSOR_AHEAD') return
      warn(codeOf(error), `a stream of events waits: ${messageOf(error)}`, { code: codeOf(error) })
      yield serverSent.heartbeat
      await clock.sleep(afterFaultMs, signal).catch(() => {})
    }
  }
}

/**
 * The text as bytes, one piece at a time, as it is taken. Whose end comes while nobody takes anything is cut off: an end would wait behind
 * what is not taken, and the connection with it.
 */
function pulled(
  parts: AsyncGenerator<string>,
  { end, signal, clock }: { end: () => void; signal: AbortSignal; clock: Clock },
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  let untaken = { cancel(): void {} }
  let isWanted = false
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        untaken = clock.after(untakenMsMax, end)
        const cut = (): void => {
          untaken.cancel()
          if (!isWanted) controller.error(new Error('nobody takes what this stream brings'))
        }
        signal.addEventListener('abort', cut, { once: true })
      },
      async pull(controller) {
        untaken.cancel()
        isWanted = true
        const { value, done } = await parts.next()
        if (done || signal.aborted) {
          end()
          return controller.close()
        }
        isWanted = false
        untaken = clock.after(untakenMsMax, end)
        controller.enqueue(encoder.encode(value))
      },
      cancel() {
        isWanted = true
        end()
      },
    },
    { highWaterMark: 0 },
  )
}

function full(): Refusal {
  return new Refusal({
    code: 'STREAMS_FULL',
    status: 429,
    message: `there are as many streams as there may be: ${streamsOfOneMax} of one, ${streamsMax} in all`,
    hint: 'close one, or ask another instance of the cloud; GET /v1/events has the same, page by page',
    retryable: true,
    headers: { 'retry-after': '10' },
  })
}
