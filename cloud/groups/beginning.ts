import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Delivery } from '../amqp/delivery.ts'
import type { HistoryPage } from '../replays/history-pages.ts'
import type { Outbound } from '../replays/outbound.ts'
import type { Beginnings, ClaimedBeginning, Kept } from './beginnings.ts'
import { handOver, isWithin, markerOf } from './history-delivery.ts'
import { partitionsOf } from './queues.ts'
import type { HistoryLadder, Returns } from './returns.ts'

export interface BeginningOptions {
  group: string
  partitions: number
  beginnings: Beginnings
  outbound: Pick<Outbound, 'send'>
  /** Its queues get events from now on. Idempotent. */
  bind: () => Promise<void>
  returns: Omit<Returns, 'pause' | 'resume'>
  /** History's. */
  ladder: HistoryLadder
  /** Whether what was delivered waits for the end of an outage, or may not begin. */
  isHeld: () => boolean
  /** Whether there is little room left for what waits behind devices that fail: history can wait, and what is sent now cannot. */
  isCrowded: () => Promise<boolean>
  onDelivery: (delivery: Delivery) => void
  /** A claim without a sign of life is anybody's after this. */
  leaseMs: number
  clock: Clock
  log: Logger
}

/** So many are in hand at once (G7). */
const pageMax = 500
const lookEveryMs = 500
/** What was routed before the binding may still be on its way to history's queue. */
const onTheWayMs = 500
/** One that was settled by a former version is not counted, and one may be lost with a queue. */
const markAgainMs = 5_000
const waitTellMs = 30_000
const ladderSlackMs = 5_000
/** So many of its own wait for it before it takes more of history (G7). */
const returnsMax = 5_000
const countEveryMs = 2_000

/** A new group on its way from the beginning of history to its queues. */
export interface Beginning {
  /** Its queues are bound, or will be by whoever has the claim. */
  readonly isOver: boolean
  /** Resolves when its queues may be read; never, if it is stopped before. */
  readonly over: Promise<void>
  stop(): void
  close(): Promise<void>
}

/**
 * Hands a new group all of history, in order, before it may read its queues (G4, G6):
 *
 *     history, page by page, while the queues are not bound: nothing gathers in them but what comes back from the group's ladder, which is read
 *        │ a page that is not full                                                                              and no gateway is held up (G7)
 *        ▼
 *     read no more ─▶ bind ─▶ history's rungs are empty, and markers settled in its queues ─▶ the rest of history, as far as it goes now ─▶ read
 *
 * What was published before the queues were bound lies before a marker in a queue of history's, and so is stored once the marker is settled;
 * what was published later is in the queues. What is in both is a repeat to the inbox. The cursor moves behind what is settled: whoever goes
 * on after a crash hands over again what was not, and what of that was committed is a repeat.
 */
export function startBeginning(options: BeginningOptions): Beginning {
  return new RunningBeginning(options)
}

class RunningBeginning implements Beginning {
  readonly over: Promise<void>
  readonly #options: BeginningOptions
  readonly #stopping = new AbortController()
  readonly #running: Promise<void>
  #isOver = false
  #tellOver = (): void => {}
  /** When the claim was last known to be ours, ms of a steady clock. */
  #keptAtMs = -Infinity
  #state: Kept
  /** Since then what comes back was not counted, ms of a steady clock. */
  #countedAtMs = -Infinity
  /** What is handed over under another is nobody's. */
  #claimed: ClaimedBeginning | undefined
  #rounds = 0

  constructor(options: BeginningOptions) {
    this.#options = options
    this.over = new Promise((resolve) => (this.#tellOver = resolve))
    this.#running = this.#run()
  }

  get isOver(): boolean {
    return this.#isOver
  }

  stop(): void {
    this.#stopping.abort()
  }

  async close(): Promise<void> {
    this.stop()
    await this.#running
    await this.#options.returns.close()
  }

  get #isOurs(): boolean {
    const { clock, leaseMs } = this.#options
    return this.#state !== undefined && clock.monotonicMs() - this.#keptAtMs < leaseMs
  }

  async #run(): Promise<void> {
    const { group, beginnings, clock, log } = this.#options
    const { signal } = this.#stopping
    while (!signal.aborted && !this.#isOver) {
      try {
        const askedAtMs = clock.monotonicMs()
        const claimed = await beginnings.claim(group)
        if (claimed === 'over') await this.#goLive()
        else if (claimed === undefined) await clock.sleep(lookEveryMs, signal)
        else {
          this.#keptAtMs = askedAtMs
          this.#state = 'running'
          this.#claimed = claimed
          try {
            await this.#goOn(claimed)
          } finally {
            this.#claimed = undefined
            await this.#options.returns.leave().catch(() => {})
            await beginnings.release(claimed).catch(() => {})
          }
        }
      } catch (error) {
        if (signal.aborted || isAbort(error)) continue
        log.warn({ code: codeOf(error) }, `the beginning of the group waits: ${messageOf(error)}`)
        await clock.sleep(lookEveryMs, signal).catch(() => {})
      }
    }
  }

  /** As far as the claim lasts. */
  async #goOn(claimed: ClaimedBeginning): Promise<void> {
    const { beginnings, clock, log, returns, onDelivery } = this.#options
    const { signal } = this.#stopping
    let { cursor, isClosed } = claimed
    log.info(
      { after: cursor, replay: claimed.replay },
      'a new group is handed history before its queues are read',
    )
    if (!claimed.isBound) returns.read(onDelivery)
    while (!signal.aborted && this.#isOurs) {
      if (this.#isStopping()) return this.#end(claimed, 'stopped')
      if (!(await this.#hasRoom(claimed))) continue
      const { events, next, more, exhausted } = await beginnings.read(claimed, cursor, pageMax)
      await this.#handOver(claimed, events)
      if (!this.#isOurs || signal.aborted) return
      if (this.#isStopping()) return this.#end(claimed, 'stopped')
      if (next !== cursor && !(await this.#kept(beginnings.passed(claimed, next, events.length)))) return
      cursor = next
      if (isClosed && exhausted) return this.#end(claimed, 'done')
      // While events come there is always a next one: what was not there yet is behind the markers, or in the queues.
      if (more) continue
      if (isClosed) await clock.sleep(lookEveryMs, signal)
      else isClosed = await this.#reachEnd(claimed)
      await this.#kept(beginnings.keep(claimed))
    }
  }

  /** Whether the next page may be handed over: letters that are full hold it up (G5), and so does what comes back faster than it is done (G7). */
  async #hasRoom(claimed: ClaimedBeginning): Promise<boolean> {
    const { beginnings, returns, isHeld, isCrowded, clock } = this.#options
    const isFull = async (): Promise<boolean> => {
      if (await isCrowded()) return true
      if (claimed.isBound || clock.monotonicMs() - this.#countedAtMs < countEveryMs) return false
      if ((await returns.waiting()) > returnsMax) return true
      this.#countedAtMs = clock.monotonicMs()
      return false
    }
    if (!isHeld() && !(await isFull())) return true
    await clock.sleep(lookEveryMs, this.#stopping.signal)
    await this.#kept(beginnings.keep(claimed))
    return false
  }

  /** Binds the queues, and learns how far history is to be read so that nothing is missing between the two. */
  async #reachEnd(claimed: ClaimedBeginning): Promise<boolean> {
    const { beginnings, clock, ladder } = this.#options
    const { signal } = this.#stopping
    if (!(await this.#bind(claimed))) return false
    const sinceMs = clock.monotonicMs()
    const hasClimbed = (): boolean => clock.monotonicMs() - sinceMs > ladder.lengthMs + ladderSlackMs
    await clock.sleep(onTheWayMs, signal)
    // What was on a rung of history's meanwhile may have come back behind a marker.
    let wasEmpty = false
    const isEmpty = async (): Promise<boolean> => {
      const isNow = await ladder.isEmpty()
      wasEmpty &&= isNow
      return isNow
    }
    while (!wasEmpty) {
      const isToMark = async (): Promise<boolean> => hasClimbed() || (await isEmpty())
      if (!(await this.#until(claimed, isToMark))) return false
      wasEmpty = true
      if (!(await this.#mark(claimed, isEmpty))) return false
      await clock.sleep(onTheWayMs, signal)
      await isEmpty()
      wasEmpty ||= hasClimbed()
    }
    await beginnings.close(claimed)
    return true
  }

  /** Nobody reads the queues any more when they are bound (G6). */
  async #bind(claimed: ClaimedBeginning): Promise<boolean> {
    const { beginnings, bind, returns } = this.#options
    await returns.leave()
    if (!claimed.isBound) {
      if (!(await this.#until(claimed, async () => !(await returns.isRead()), true))) return false
      if (!(await this.#kept(beginnings.bound(claimed)))) return false
      claimed.isBound = true
    }
    await bind()
    return true
  }

  /** Markers into all of history's queues, until each has settled one. Those that are lost are sent again. A rung lasts longer than a look. */
  async #mark(claimed: ClaimedBeginning, look: () => Promise<unknown>): Promise<boolean> {
    const { beginnings, clock, outbound, partitions } = this.#options
    const marker = await beginnings.marker(claimed)
    const round = `${claimed.claim}.${++this.#rounds}`
    let sentAtMs = -Infinity
    return this.#until(claimed, async () => {
      const settled = await beginnings.markersSettled(claimed, round)
      const missing = partitionsOf(partitions).filter((partition) => !settled.has(partition))
      if (missing.length > 0 && clock.monotonicMs() - sentAtMs >= markAgainMs) {
        sentAtMs = clock.monotonicMs()
        for (const partition of missing)
          await outbound.send(...markerOf(marker, { replay: claimed.replay, round, partition }))
      }
      await look()
      return missing.length === 0
    })
  }

  /** False: the claim is lost, or a person wants no more of it. */
  async #until(
    claimed: ClaimedBeginning,
    check: () => Promise<boolean>,
    alsoStopping = false,
  ): Promise<boolean> {
    const { beginnings, clock, log } = this.#options
    const sinceMs = clock.monotonicMs()
    for (let isTold = false; !(await check());) {
      if (!isTold && clock.monotonicMs() - sinceMs > waitTellMs) {
        isTold = true
        log.warn(
          { code: 'BEGINNING_WAITS', hint: waitsHint },
          'the group waits for history, which does not move',
        )
      }
      await clock.sleep(lookEveryMs / 5, this.#stopping.signal)
      if (!(await this.#kept(beginnings.keep(claimed)))) return false
      if (this.#state === 'stopping' && !alsoStopping) return false
    }
    return true
  }

  /** Resolves when all of them are settled, or there is no point in waiting. */
  async #handOver(claimed: ClaimedBeginning, events: HistoryPage['events']): Promise<void> {
    if (events.length === 0) return
    const { group, partitions, beginnings, onDelivery, clock, leaseMs } = this.#options
    const isLost = (): boolean => this.#claimed !== claimed || !this.#isOurs
    const { signal } = this.#stopping
    const settled = handOver(events, onDelivery, { group, partitions, isLost, nowMs: clock.now() })
    while (this.#isOurs && !signal.aborted && !this.#isStopping()) {
      if (await isWithin(settled, leaseMs / 4, clock, signal)) return
      await this.#kept(beginnings.keep(claimed)).catch(() => {})
    }
  }

  #isStopping(): boolean {
    return this.#state === 'stopping'
  }

  /** Asked for now: what it says of the claim, and since when that holds. */
  async #kept(asked: Promise<Kept>): Promise<boolean> {
    const askedAtMs = this.#options.clock.monotonicMs()
    this.#state = await asked
    if (this.#state !== undefined) this.#keptAtMs = askedAtMs
    return this.#state !== undefined
  }

  async #end(claimed: ClaimedBeginning, state: 'done' | 'stopped'): Promise<void> {
    if (!(await this.#bind(claimed))) return
    await this.#options.beginnings.end(claimed, state)
    await this.#goLive()
  }

  async #goLive(): Promise<void> {
    await this.#options.bind()
    this.#isOver = true
    this.#options.log.info('the group has had its history, and reads its queues')
    this.#tellOver()
  }
}

const waitsHint =
  'it needs an instance that runs the group history: see why that one does not work; its queues gather no more than those of history do'
