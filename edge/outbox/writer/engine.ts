import { backoffMs } from '../../../src/backoff.ts'
import { codeOf, isAbort, messageOf } from '../../../src/errors.ts'
import { eventKey } from '../../../src/contract/event.ts'
import { type GroupCommit, groupCommit } from '../../../src/group-commit.ts'
import type { EngineOptions } from '../options.ts'
import {
  type Admission,
  bothLanes,
  type Outbox,
  type OutboxStats,
  type Queued,
  type QuotaReason,
  type Submission,
} from '../outbox.ts'
import { allHanded, isComplete, recountInto, runDry } from './accounting.ts'
import { admitInto } from './admit.ts'
import { ClockRecord } from './clock-record.ts'
import { closeStore } from './closing.ts'
import { contentsOf } from './contents.ts'
import { type Command, type Core, lowestQueued } from './core.ts'
import { hashOf } from '../rules/dedup.ts'
import { Departures } from './departures.ts'
import { Draft } from './draft.ts'
import { createHolding, type Pending } from '../rules/holding.ts'
import { endRemoval, expireInto, releaseInto } from './removal.ts'
import { appendLedgerEntry, reportInto } from './ledger-entries.ts'
import { Loader } from '../opening/loader.ts'
import { Oldest } from './oldest.ts'
import { createPace, type Pace } from '../rules/pace.ts'
import type { StoredEvent } from '../layout/record.ts'
import type { Known, Loaded } from '../opening/recovery.ts'
import { encodeHead } from '../layout/head.ts'
import { createHanded } from '../rules/handed.ts'
import { type State, steadyClockOf } from '../opening/state.ts'
import { rangesPerReport } from '../rules/undelivered.ts'
import { busyError, closedError, WriterState } from './writer-state.ts'

const tickMs = 1000
const markEveryMs = 10_000
const headEveryMs = 30_000
const storeFailures = ['STORE_UNAVAILABLE', 'STORE_CORRUPT']
const reopenBackoff = { delayMsMin: 100, delayMsMax: 5000 }

/**
 * The outbox's single writer. Every change is a command; commands that arrive during a write share the next
 * one (group commit), so the store sees one atomic, synced write at a time and the head record is never raced.
 */
export class Engine implements Outbox {
  private readonly options: EngineOptions
  private readonly commands: GroupCommit<Command, void>
  private readonly pace: Pace
  private readonly loader: Loader
  private readonly closing = new AbortController()
  /** Aborted: a store that fails is not opened again. */
  private readonly hopeful: AbortSignal
  private core!: Core
  private departures!: Departures
  private clockRecord!: ClockRecord
  private readonly writer: WriterState
  private oldest!: Oldest
  /** More has expired than one write takes. */
  private more = false
  private lastMarkMs = 0
  private lastHeadMs = 0
  private ticking: Promise<void> = Promise.resolve()
  private timer: { cancel(): void } | undefined
  private background: Promise<void> = Promise.resolve()
  private closed: Promise<void> | undefined

  constructor(options: EngineOptions) {
    this.options = options
    this.pace = createPace(options.clock, options.lanes)
    this.loader = new Loader(options, this.pace)
    this.writer = new WriterState(options.clock)
    const { signal } = options
    this.hopeful = signal ? AbortSignal.any([signal, this.closing.signal]) : this.closing.signal
    this.commands = groupCommit((commands) => this.commit(commands).finally(() => endRemoval(this.core)), {
      itemsMax: options.batchEventsMax,
    })
  }

  async open(): Promise<void> {
    const { clock } = this.options
    const loaded = await this.loader.load()
    this.core = {
      options: this.options,
      holding: createHolding(),
      handed: createHanded(),
      steady: steadyClockOf(clock, loaded.head, this.options.clockSettleMs),
      state: await this.loader.stateOf(loaded),
      removing: new Set(),
      removal: undefined,
      reading: undefined,
      doubtful: new Set(),
      diskFreeBytes: Infinity,
      lastReportMs: 0,
    }
    this.oldest = new Oldest(this.core)
    this.clockRecord = new ClockRecord(this.core, loaded.head.position + 1)
    this.departures = new Departures(this.core, this.pace, {
      release: (events) => this.commands.submit({ kind: 'release', events }),
      reload: async (state, error) => {
        if (!this.closing.signal.aborted) await this.commands.submit({ kind: 'reload', state, error })
      },
    })
    try {
      await this.takeOver(loaded)
      this.inBackground(loaded.clean)
    } catch (error) {
      // What is opened can still turn out to be damaged; anything else is for who starts us to hear.
      if (codeOf(error) === 'STORE_CORRUPT') await this.reopen(1, error)
      else {
        await loaded.store.close()
        throw error
      }
    }
    this.schedule()
  }

  append(submission: Submission, signal?: AbortSignal): Promise<Admission> {
    const { waitingMax, observer } = this.options
    if (this.closing.signal.aborted) return Promise.reject(closedError())
    const full = this.writer.unanswered >= waitingMax
    if (submission.qos === 0 && (this.writer.failing || full)) {
      const reason = this.refusing ?? 'store-failed'
      observer.refused(reason, 1)
      observer.admitted('shed')
      return Promise.resolve({ kind: 'shed', reason })
    }
    if (full) {
      observer.refused('waiting', 1)
      return Promise.reject(busyError(waitingMax))
    }
    if (this.writer.failing) observer.refused('store-failed', 1)
    return this.writer.until(
      new Promise((resolve, reject) => {
        const hash = hashOf(eventKey(submission.candidate))
        const pending: Pending = { submission, hash, signal, resolve, reject }
        this.commands.submit({ kind: 'append', pending }).catch(reject)
      }),
    )
  }

  take(eventsMax: number): Promise<Queued[]> {
    return this.departures.take(eventsMax)
  }

  ready(signal: AbortSignal): Promise<void> {
    return this.departures.ready(signal)
  }

  release(events: readonly Queued[]): Promise<void> {
    return this.departures.release(events)
  }

  rewind(): void {
    this.departures.rewind()
  }

  resumed(): void {
    this.departures.resumed()
  }

  stats(): OutboxStats {
    return {
      ...contentsOf(this.core),
      oldestAgeMs: this.oldest.agesMs(),
      waiting: this.writer.unanswered,
      stuckMs: this.writer.stuckMs(),
      refusing: this.refusing,
    }
  }

  snapshot() {
    return this.core.state.store.snapshot()
  }

  close(): Promise<void> {
    return (this.closed ??= this.shutDown())
  }

  private get refusing(): QuotaReason | undefined {
    return this.writer.failing ? 'store-failed' : this.core.holding.reason
  }

  private async commit(commands: Command[]): Promise<void[]> {
    // Closed before it could be opened again: what we know may be older than what has landed.
    if (this.writer.failing) throw closedError()
    for (let attempt = 1; ; attempt++) {
      try {
        await this.attempt(commands)
        this.writer.failing = false
        return commands.map(() => undefined)
      } catch (error) {
        if (!storeFailures.includes(codeOf(error))) {
          this.writer.failing = false
          throw error
        }
        this.options.log.error({ code: codeOf(error), detail: messageOf(error) }, 'the outbox cannot write')
        const inLine = this.writer.unanswered - this.core.holding.size
        if (!this.writer.failing) this.options.observer.refused('store-failed', inLine)
        this.writer.failing = true
        await this.reopen(attempt, error)
      }
    }
  }

  private async attempt(commands: Command[]): Promise<void> {
    const { state, handed } = this.core
    const draft = new Draft(state.head, state.devices)
    const released: StoredEvent[] = []
    const arrived: Pending[] = []
    const settle: (() => void)[] = []
    const asked = (kind: Command['kind']): boolean => commands.some((command) => command.kind === kind)
    if (asked('recount') || (asked('housekeep') && runDry(this.core))) await recountInto(this.core, draft)
    for (const command of commands) {
      switch (command.kind) {
        case 'append':
          arrived.push(command.pending)
          break
        case 'release':
          released.push(...command.events)
          break
        case 'housekeep':
          await this.housekeepInto(draft)
          break
        case 'recount':
          // Before all others: it adopts what is on the disk, and nothing of this draft is there yet.
          break
        case 'reload':
          if (command.state === state) throw command.error
          break
      }
    }
    // What was proven leaves first: it makes room.
    await releaseInto(this.core, draft, released)
    const hashes = await admitInto(this.core, draft, arrived, settle)
    while (state.undelivered.size >= rangesPerReport) reportInto(this.core, draft)
    if (!draft.empty) {
      state.dedup.remember(hashes, draft.operations)
      draft.head.generation.count += hashes.length
      for (const lane of bothLanes) draft.head.first[lane] = lowestQueued(this.core, lane, draft)
      await this.write(draft)
      state.dedup.committed(hashes)
      state.lanes.advance('normal', draft.evictedTo('normal', state.lanes) + 1)
    }
    // Only now that the write has landed does anything that lives on change, or anybody hear of it.
    this.clockRecord.landed()
    for (const { position } of released) handed.releasing.delete(position)
    for (const done of settle) done()
  }

  private async write(draft: Draft, { sync } = { sync: draft.urgent }): Promise<void> {
    const { clock, observer } = this.options
    const { state } = this.core
    const operations = draft.finish(this.core.steady.now(), this.core.steady.wallMs())
    // Appends are synced before anybody is told (G1). A release that is lost is only sent again.
    await state.store.write(operations, { sync: sync || draft.urgent })
    this.lastHeadMs = clock.monotonicMs()
    state.head = draft.head
    draft.applyUsage(state.devices)
    this.oldest.landed(draft)
    if (draft.appended.length > 0) observer.batch(draft.appended.length, draft.payloadBytes)
    for (const [reason, count] of draft.undelivered) observer.undelivered(reason, count)
    const lost = draft.undelivered.get('lost')
    if (lost !== undefined) observer.lost(lost)
    this.departures.wake()
  }

  private schedule(delayMs = tickMs): void {
    this.timer = this.options.clock.after(delayMs, () => {
      this.ticking = this.tickSafely()
    })
  }

  private async tickSafely(): Promise<void> {
    const { state } = this.core
    try {
      await this.tick()
    } catch (error) {
      await this.reloadAfter(error, state, 'outbox housekeeping failed')
      this.more = false
    }
    if (!this.closing.signal.aborted) this.schedule(this.more ? 0 : tickMs)
  }

  private async tick(): Promise<void> {
    const { folder, clock } = this.options
    this.core.diskFreeBytes = await folder.freeBytes()
    await this.loader.restoreReserve(this.core.diskFreeBytes)
    this.more = false
    await this.commands.submit({ kind: 'housekeep' })
    await this.core.state.dedup.expire(this.core.steady.now())
    const nowMs = clock.monotonicMs()
    if (nowMs - this.lastMarkMs >= markEveryMs) {
      this.lastMarkMs = nowMs
      await folder.writeMark(encodeHead(this.core.state.head))
    }
    await this.oldest.look()
  }

  private async housekeepInto(draft: Draft): Promise<void> {
    const { clock, reportIntervalMs } = this.options
    const { undelivered } = this.core.state
    this.clockRecord.keepInto(draft)
    this.more = await expireInto(this.core, draft)
    const nowMs = clock.monotonicMs()
    if (undelivered.size > 0 && nowMs - this.core.lastReportMs >= reportIntervalMs)
      reportInto(this.core, draft)
    // An idle gateway still remembers how late it is (time to live across power-off).
    if (nowMs - this.lastHeadMs >= headEveryMs) draft.touch()
  }

  /** Says what loading found, and tells the cloud about damage before anything else is admitted. */
  private async takeOver(loaded: Loaded): Promise<void> {
    const { log, folder } = this.options
    const { core } = this
    const damaged = loaded.damage.length > 0
    core.diskFreeBytes = await folder.freeBytes()
    await this.loader.restoreReserve(core.diskFreeBytes)
    const draft = new Draft(core.state.head, core.state.devices)
    draft.operations.push(...loaded.operations)
    for (const entry of loaded.announcements) appendLedgerEntry(core, draft, entry)
    if (damaged) while (core.state.undelivered.size > 0) reportInto(core, draft)
    const lost = loaded.damage.reduce((sum, damage) => sum + damage.lost, 0)
    if (lost > 0) draft.undelivered.set('lost', lost)
    draft.touch()
    await this.write(draft, { sync: damaged })
    for (const damage of loaded.damage)
      log.error({ code: 'OUTBOX_DAMAGED', ...damage }, 'the outbox was damaged')
    await this.oldest.look()
  }

  private async reopen(attempt: number, reason: unknown): Promise<void> {
    const { core } = this
    const { clock, random, log } = this.options
    const known: Known = { head: core.state.head }
    if (codeOf(reason) === 'STORE_CORRUPT') known.fault = messageOf(reason)
    for (let tries = attempt; ; tries++) {
      if (this.hopeful.aborted) throw closedError()
      try {
        await core.state.store.close()
        await this.loader.spendReserve()
        await clock.sleep(backoffMs(tries, reopenBackoff, random), this.hopeful)
        const loaded = await this.loader.load(known)
        // What is found is not on record before the write below has landed.
        if (loaded.damage[0]) known.fault ??= loaded.damage[0].detail
        this.departures.goOnWith(await this.loader.stateOf(loaded))
        core.removing.clear()
        core.doubtful = allHanded(this.core)
        await this.takeOver(loaded)
        this.inBackground(true)
        return
      } catch (error) {
        if (isAbort(error)) throw closedError()
        log.error(
          { code: codeOf(error), detail: messageOf(error), tries },
          'the outbox cannot be opened again yet',
        )
      }
    }
  }

  /** After opening: fills the dedup filters, and after a crash counts whether everything is there. */
  private inBackground(clean: boolean): void {
    const { state } = this.core
    const check = async (): Promise<void> => {
      try {
        if (!clean && !(await isComplete(state, this.closing.signal)))
          await this.commands.submit({ kind: 'recount' })
        await state.dedup.warmUp(this.closing.signal)
      } catch (error) {
        await this.reloadAfter(error, state, 'checking the outbox failed')
      }
    }
    const { background } = this
    this.background = check().then(() => background)
  }

  /** A store that fails when it is read has to be opened again as much as one that fails when it is written. */
  private async reloadAfter(error: unknown, state: State, what: string): Promise<void> {
    if (this.closing.signal.aborted) return
    const code = codeOf(error)
    try {
      if (!storeFailures.includes(code)) throw error
      await this.commands.submit({ kind: 'reload', state, error })
    } catch {
      this.options.log.error({ code, detail: messageOf(error) }, what)
    }
  }

  private async shutDown(): Promise<void> {
    this.closing.abort()
    this.timer?.cancel()
    this.core.holding.rejectAll(closedError())
    // It may be about to write: nothing may come between what we know and the last word on it (I2).
    await this.ticking
    await this.commands.close()
    this.core.holding.rejectAll(closedError())
    await this.background
    this.departures.wake()
    await closeStore(this.core, { inOrder: !this.writer.failing })
  }
}
