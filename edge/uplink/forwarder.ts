import { type BackoffOptions, backoffMs } from '../../src/backoff.ts'
import type { Clock, Random } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import { aborted } from '../../src/lifecycle.ts'
import type { Logger } from '../../src/log.ts'
import type { Exchange, ExchangeSession, Outcome, SessionEnd } from './exchange.ts'
import type { ForwarderObserver } from './observer.ts'
import type { Outbox, Queued } from '../outbox/outbox.ts'

export interface ForwarderOptions {
  outbox: Outbox
  exchange: Exchange
  clock: Clock
  random: Random
  log: Logger
  observer: ForwarderObserver
  /** Events published and not yet proven, at the most. */
  windowEvents: number
  /** A session whose oldest event waits longer than this for its proof is given up; while blocked it may wait. */
  confirmTimeoutMs: number
  /** Wait after a session that proved nothing. */
  retry: BackoffOptions
}

/** Events asked of the outbox at a time: enough to keep the disk read cheap, small enough to stay live. */
const takeEventsMax = 500
const watchEveryMs = 1000
const stopGraceMs = 2000

/**
 * Carries events from the outbox to the exchange, for as long as `signal` allows. An event is released only
 * after proof (G3). When a session ends, what it had not proven goes back and is taken again, oldest first:
 * sent twice at worst, never skipped; the cloud drops the repeat by `(source, id)` (G4).
 *
 *     down ──connect──▶ up ──lost, refused, or silent for confirmTimeoutMs──▶ down (rewind, wait)
 */
export async function forward(options: ForwarderOptions, signal: AbortSignal): Promise<void> {
  const { outbox, exchange, clock, random, log, retry } = options
  let fruitless = 0
  try {
    for (;;) {
      const session = await exchange.connect(signal)
      log.info('the uplink is up')
      outbox.resumed()
      const { end, proven } = await runSession(options, session, signal)
      outbox.rewind()
      await session.close()
      signal.throwIfAborted()
      fruitless = proven > 0 ? 0 : fruitless + 1
      const retryInMs = backoffMs(Math.max(1, fruitless), retry, random)
      log.warn({ code: end.code, detail: end.detail, retryInMs }, 'the uplink was lost')
      await clock.sleep(retryInMs, signal)
    }
  } catch (error) {
    // Closed: the gateway is stopping, and its store fails.
    if (!isAbort(error) && codeOf(error) !== 'OUTBOX_CLOSED') throw error
  } finally {
    await exchange.close()
  }
}

interface SessionResult {
  end: SessionEnd
  /** Events proven in this session. */
  proven: number
}

async function runSession(
  { outbox, clock, log, observer, windowEvents, confirmTimeoutMs }: ForwarderOptions,
  session: ExchangeSession,
  signal: AbortSignal,
): Promise<SessionResult> {
  /** When each was sent, in order of sending. */
  const sentAtMs = new Map<Queued, number>()
  const over = new AbortController()
  /** Ends the wait for more events: the session is over, or the gateway stops. */
  const idle = new AbortController()
  let end: SessionEnd = { code: 'STOPPED', detail: 'the gateway is stopping' }
  let proven = 0
  let room: (() => void) | undefined
  const releases = new Set<Promise<void>>()

  const tellUnconfirmed = (): void => {
    const [oldestSentAtMs] = sentAtMs.values()
    observer.unconfirmed(sentAtMs.size, oldestSentAtMs)
  }

  // Taken ahead, so that a proof makes room for the next event at once and nobody waits for the disk.
  let ahead: Queued[] = []
  const send = (): void => {
    if (over.signal.aborted || signal.aborted || session.blocked) return
    const events = ahead.slice(0, Math.max(0, windowEvents - sentAtMs.size))
    ahead = ahead.slice(events.length)
    for (const event of events) {
      sentAtMs.set(event, clock.monotonicMs())
      session.publish(event)
    }
    if (events.length > 0) tellUnconfirmed()
  }

  let doNotWait!: () => void
  const stopped = new Promise<void>((resolve) => {
    doNotWait = resolve
  })
  const finish = (reason: SessionEnd): void => {
    if (over.signal.aborted) return
    end = reason
    over.abort()
    idle.abort()
    room?.()
  }
  // Stopping ends the taking at once; what is in flight gets a moment to be proven.
  const stop = (): void => {
    doNotWait()
    idle.abort()
    room?.()
    if (sentAtMs.size === 0) finish(end)
    else clock.after(stopGraceMs, () => finish(end))
  }
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  void session.lost.then(finish)

  session.onOutcomes((outcomes: Outcome[]) => {
    if (over.signal.aborted) return
    const nowMs = clock.monotonicMs()
    const routed: Queued[] = []
    for (const outcome of outcomes) {
      observer.confirmed(nowMs - (sentAtMs.get(outcome.event) ?? nowMs))
      sentAtMs.delete(outcome.event)
      if (outcome.kind === 'routed') routed.push(outcome.event)
      else {
        observer.refused(outcome.code)
        // Whatever refuses one event refuses the next: wait, rather than spin or skip.
        finish({ code: outcome.code, detail: `the exchange did not route ${outcome.event.type}` })
      }
    }
    if (routed.length > 0) {
      proven += routed.length
      const release = outbox.release(routed).then(
        () => observer.forwarded(routed.length, clock.now() - (routed[0] as Queued).recordedAtMs),
        (error: unknown) =>
          log.warn({ code: codeOf(error), detail: messageOf(error) }, 'events were proven but not released'),
      )
      releases.add(release)
      void release.then(() => releases.delete(release))
    }
    if (signal.aborted && sentAtMs.size === 0) finish(end)
    tellUnconfirmed()
    send()
    room?.()
  })

  /** A blocked broker confirms nothing: no event's wait begins before the last look that found it so. */
  let blockedAtMs = -Infinity
  const watch = (): void => {
    if (over.signal.aborted) return
    const nowMs = clock.monotonicMs()
    if (session.blocked) blockedAtMs = nowMs
    const [oldest = nowMs] = sentAtMs.values()
    const waitedMs = nowMs - Math.max(oldest, blockedAtMs)
    if (waitedMs > confirmTimeoutMs) {
      finish({ code: 'CONFIRM_TIMEOUT', detail: `no publisher confirm for ${Math.round(waitedMs)} ms` })
    } else clock.after(watchEveryMs, watch)
  }
  watch()

  const carry = async (): Promise<void> => {
    while (!over.signal.aborted) {
      send()
      if (ahead.length > takeEventsMax / 2 || session.blocked || signal.aborted) {
        await new Promise<void>((resolve) => {
          room = resolve
          if (session.blocked) clock.after(watchEveryMs, resolve)
        })
        continue
      }
      const events = await outbox.take(takeEventsMax)
      if (over.signal.aborted) break
      ahead = [...ahead, ...events]
      if (events.length === 0) await outbox.ready(idle.signal)
    }
  }
  observer.uplink(true)
  const carried = carry()
  try {
    await Promise.race([aborted(over.signal), carried])
  } finally {
    finish(end)
    signal.removeEventListener('abort', stop)
    observer.uplink(false)
    observer.unconfirmed(0, undefined)
  }
  // What is being read or released is settled before the next session reads. A stop needs neither, nor a disk that works.
  await Promise.race([stopped, Promise.all([carried, ...releases])])
  return { end, proven }
}
