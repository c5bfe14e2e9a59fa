import { backoffMs } from '../../src/backoff.ts'
import { codeOf, isAbort, messageOf, TidegateError } from '../../src/errors.ts'
import { eventKey } from '../../src/event.ts'
import { type GroupCommit, groupCommit } from '../../src/group-commit.ts'
import type { Admission, Lane, Outbox, OutboxStats, Queued, Submission } from '../outbox.ts'
import { admitInto } from './admit.ts'
import { bothLanes, type Core, type EngineOptions, lowestQueued } from './core.ts'
import { hashOf } from './dedup.ts'
import { Draft } from './draft.ts'
import { creditOf } from './head.ts'
import { createHolding, type Pending } from './holding.ts'
import { allEvents, eventRange } from './keys.ts'
import { createLanes } from './lanes.ts'
import { expireInto, releaseInto } from './leave.ts'
import { appendLedgerEntry, reportInto } from './ledger-entries.ts'
import { createPace, type Pace } from './pace.ts'
import { decodeRecord, type StoredEvent } from './record.ts'
import { recount } from './recount.ts'
import { type Known, type Loaded, loadOutbox, markOf } from './recovery.ts'
import { createHanded, readState, type State, steadyClockOf } from './state.ts'
import { rangesPerReport } from './undelivered.ts'

type Command =
  | { kind: 'append'; pending: Pending }
  | { kind: 'release'; events: StoredEvent[] }
  | { kind: 'housekeep' }
  | { kind: 'recount' }
  | { kind: 'reload'; state: State; error: unknown }

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
  private readonly closing = new AbortController()
  private core!: Core
  private reserveSpent = false
  /** The store failed and has to be opened again. */
  private failing = false
  private oldestSteadyMs: Record<Lane, number> = { high: 0, normal: 0 }
  private firstOfClockPeriod = 1
  /** From here on events are dated without the time spent off; Infinity once that is settled. */
  private undatedFrom = 1
  /** A move of the clock that is not on record yet. */
  private jumpMs = 0
  /** More has expired than one write takes. */
  private more = false
  private lastMarkMs = 0
  private lastHeadMs = 0
  private timer: { cancel(): void } | undefined
  private wakeReader: (() => void) | undefined
  private background: Promise<void> = Promise.resolve()
  private closed: Promise<void> | undefined

  constructor(options: EngineOptions) {
    this.options = options
    this.pace = createPace(options.clock, options.lanes)
    this.commands = groupCommit((commands) => this.commit(commands), { itemsMax: options.batchEventsMax })
  }

  async open(): Promise<void> {
    const { clock } = this.options
    const loaded = await this.load()
    this.core = {
      options: this.options,
      holding: createHolding(),
      handed: createHanded(),
      steady: steadyClockOf(clock, loaded.head, this.options.clockSettleMs),
      state: await this.stateOf(loaded),
      removing: new Set(),
      removalUnderWay: false,
      reading: undefined,
      doubtful: new Set(),
      diskFreeBytes: Infinity,
      lastReportMs: 0,
    }
    this.undatedFrom = loaded.head.position + 1
    this.firstOfClockPeriod = this.undatedFrom
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
    if (this.failing && submission.qos === 0) {
      observer.refused('store-failed')
      observer.admitted('shed')
      return Promise.resolve({ kind: 'shed', reason: 'store-failed' })
    }
    if (this.core.holding.size + this.commands.pending >= waitingMax) {
      observer.refused('waiting')
      if (submission.qos === 0)
        return Promise.resolve({ kind: 'shed', reason: this.core.holding.reason ?? 'store-failed' })
      return Promise.reject(
        new TidegateError('OUTBOX_BUSY', {
          message: `${waitingMax} submissions wait for room already`,
          retryable: true,
          hint: 'the device keeps the event and sends it again; raise outbox.waitingMax if memory allows',
        }),
      )
    }
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        submission,
        hash: hashOf(eventKey(submission.candidate)),
        signal,
        resolve,
        reject,
      }
      this.commands.submit({ kind: 'append', pending }).catch(reject)
    })
  }

  async take(eventsMax: number): Promise<Queued[]> {
    const { state, handed } = this.core
    const { lanes: source, head } = state
    this.core.reading = source.next
    if (!this.core.removalUnderWay) this.core.removing.clear()
    try {
      const events = await source.read(eventsMax, head.position, (position) => handed.busy(position))
      // The uplink was lost, or the store was opened again, while we read: these will be read again.
      if (source !== this.core.state.lanes) return []
      const taken = events.filter((event) => !this.core.removing.has(event.position))
      for (const event of taken) handed.inFlight.set(event.position, event)
      return taken
    } catch (error) {
      if (!this.closing.signal.aborted) await this.commands.submit({ kind: 'reload', state, error })
      return []
    } finally {
      this.core.reading = undefined
    }
  }

  async ready(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const waitMs = this.core.state.lanes.waitMs(this.core.state.head.position)
      if (waitMs === 0) return
      await new Promise<void>((resolve) => {
        const timer = waitMs === Infinity ? undefined : this.options.clock.after(waitMs, () => done())
        const done = (): void => {
          timer?.cancel()
          signal.removeEventListener('abort', done)
          resolve()
        }
        this.wakeReader = done
        signal.addEventListener('abort', done, { once: true })
      })
    }
  }

  async release(events: readonly Queued[]): Promise<void> {
    const { inFlight, releasing } = this.core.handed
    const proven: StoredEvent[] = []
    for (const { position } of events) {
      const event = inFlight.get(position)
      if (!event) continue
      inFlight.delete(position)
      releasing.set(position, event)
      proven.push(event)
    }
    if (proven.length > 0) await this.commands.submit({ kind: 'release', events: proven })
  }

  rewind(): void {
    const first = { high: lowestQueued(this.core, 'high'), normal: lowestQueued(this.core, 'normal') }
    this.core.handed.inFlight.clear()
    this.core.state.lanes = createLanes(this.core.state.store, this.pace, this.options.lanes, first)
    this.wake()
  }

  resumed(): void {
    const { head } = this.core.state
    this.core.state.lanes.split(head.position, head.depth.normal)
    this.wake()
  }

  stats(): OutboxStats {
    const { head, devices, dedup, lanes: source } = this.core.state
    const nowMs = this.core.steady.now()
    const ages = bothLanes.map((lane) => (head.depth[lane] > 0 ? nowMs - this.oldestSteadyMs[lane] : 0))
    return {
      epoch: head.epoch,
      lastSequence: head.position - head.epochBase,
      depth: { ...head.depth },
      bytes: { ...head.bytes },
      backlog: source.backlogLeft(),
      inFlight: this.core.handed.inFlight.size,
      oldestAgeMs: Math.max(0, ...ages),
      waiting: this.core.holding.size,
      refusing: this.failing ? 'store-failed' : this.core.holding.reason,
      devices: devices.size,
      rememberedIds: dedup.count(),
    }
  }

  close(): Promise<void> {
    return (this.closed ??= this.shutDown())
  }

  // --- the write -------------------------------------------------------------------------------------------

  private async commit(commands: Command[]): Promise<void[]> {
    // Closed before it could be opened again: what we know may be older than what has landed.
    if (this.failing) throw closedError()
    for (let attempt = 1; ; attempt++) {
      try {
        await this.attempt(commands)
        return commands.map(() => undefined)
      } catch (error) {
        if (!storeFailures.includes(codeOf(error))) throw error
        this.options.log.error({ code: codeOf(error), detail: messageOf(error) }, 'the outbox cannot write')
        this.options.observer.refused('store-failed')
        this.failing = true
        await this.reopen(attempt, error)
        this.failing = false
      }
    }
  }

  private async attempt(commands: Command[]): Promise<void> {
    const { state, handed } = this.core
    const draft = new Draft(state.head, state.devices)
    const released: StoredEvent[] = []
    const arrived: Pending[] = []
    const settle: (() => void)[] = []
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
          await this.recountInto(draft)
          break
        case 'reload':
          if (command.state === state) throw command.error
          break
      }
    }
    // What was proven leaves first: it makes room.
    await releaseInto(this.core, draft, released)
    const hashes = await admitInto(this.core, draft, arrived, settle)
    if (state.undelivered.size >= rangesPerReport) reportInto(this.core, draft)
    if (!draft.empty) {
      state.dedup.remember(hashes, draft.operations)
      draft.head.generation.count += hashes.length
      for (const lane of bothLanes) draft.head.first[lane] = lowestQueued(this.core, lane, draft)
      await this.write(draft)
      state.dedup.committed(hashes)
      state.lanes.advance('normal', draft.evictedTo.normal + 1)
    }
    // Only now that the write has landed does anything that lives on change, or anybody hear of it.
    this.jumpMs = 0
    if (draft.head.credits.some(({ from }) => from === this.undatedFrom)) this.undatedFrom = Infinity
    for (const { position } of released) handed.releasing.delete(position)
    for (const done of settle) done()
  }

  private async write(draft: Draft, { sync } = { sync: draft.appended.length > 0 }): Promise<void> {
    const { clock, observer } = this.options
    const { state } = this.core
    const operations = draft.finish(this.core.steady.now(), this.core.steady.wallMs())
    const startedMs = clock.monotonicMs()
    // Appends are synced before anybody is told (G1). A release that is lost is only sent again.
    await state.store.write(operations, { sync: sync || draft.appended.length > 0 })
    this.lastHeadMs = clock.monotonicMs()
    state.head = draft.head
    draft.applyUsage(state.devices)
    this.core.removalUnderWay = false
    if (draft.appended.length > 0) {
      const writtenBytes = operations.reduce(
        (sum, operation) =>
          sum + operation.key.length + (operation.type === 'put' ? operation.value.length : 0),
        0,
      )
      observer.batch(draft.appended.length, draft.payloadBytes, writtenBytes, this.lastHeadMs - startedMs)
    }
    for (const [reason, count] of draft.undelivered) observer.undelivered(reason, count)
    this.wake()
  }

  // --- housekeeping ----------------------------------------------------------------------------------------

  private schedule(delayMs = tickMs): void {
    this.timer = this.options.clock.after(delayMs, () => {
      void this.tickSafely()
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
    const { folder, clock, quota } = this.options
    this.core.diskFreeBytes = await folder.freeBytes()
    if (this.reserveSpent && this.core.diskFreeBytes > 2 * quota.diskFreeBytesMin) {
      await folder.restoreReserve()
      this.reserveSpent = false
    }
    this.more = false
    await this.commands.submit({ kind: 'housekeep' })
    await this.core.state.dedup.expire(this.core.steady.now())
    const nowMs = clock.monotonicMs()
    if (nowMs - this.lastMarkMs >= markEveryMs) {
      this.lastMarkMs = nowMs
      await folder.writeMark(markOf(this.core.state.head))
    }
    await this.findOldest()
  }

  private async housekeepInto(draft: Draft): Promise<void> {
    const { clock, reportIntervalMs } = this.options
    const { head, undelivered } = this.core.state
    const jump = this.core.steady.check()
    if (jump) {
      this.options.log.warn({ offsetMs: jump.offsetMs }, 'the wall clock was moved')
      this.jumpMs += jump.offsetMs
    }
    this.creditInto(draft)
    if (this.jumpMs !== 0) {
      const from = Math.max(this.firstOfClockPeriod, head.epochBase + 1)
      if (head.position >= from) {
        appendLedgerEntry(this.core, draft, {
          kind: 'clock-corrected',
          epoch: head.epoch,
          from: from - head.epochBase,
          to: head.position - head.epochBase,
          offsetMs: this.jumpMs,
        })
      }
      this.firstOfClockPeriod = draft.head.position + 1
    }
    if (this.runDry) await this.recountInto(draft)
    this.more = await expireInto(this.core, draft)
    const nowMs = clock.monotonicMs()
    if (undelivered.size > 0 && nowMs - this.core.lastReportMs >= reportIntervalMs)
      reportInto(this.core, draft)
    // An idle gateway still remembers how late it is (time to live across power-off).
    if (nowMs - this.lastHeadMs >= headEveryMs) draft.touch()
  }

  /** Once it is believed how long the gateway was off: what came in until then was dated without that time. */
  private creditInto(draft: Draft): void {
    const { creditMs } = this.core.steady
    const { credits, position } = draft.head
    const from = this.undatedFrom
    if (creditMs === 0 || from === Infinity) return
    if (position < from || credits.some((credit) => credit.from === from)) this.undatedFrom = Infinity
    else credits.push({ from, to: position, ms: creditMs })
    draft.touch()
  }

  private async findOldest(): Promise<void> {
    const { store } = this.core.state
    for (const lane of bothLanes) {
      const [entry] = await store.entries(eventRange(lane, lowestQueued(this.core, lane)), 1)
      if (!entry) continue
      const { position, admittedSteadyMs } = decodeRecord(lane, Number(entry[0].slice(4)), entry[1])
      this.oldestSteadyMs[lane] = admittedSteadyMs + creditOf(this.core.state.head, position)
    }
  }

  private wake(): void {
    this.wakeReader?.()
    this.wakeReader = undefined
  }

  // --- opening, reopening, closing -------------------------------------------------------------------------

  private async load(known: Known = {}): Promise<Loaded> {
    const { folder, gateway } = this.options
    const identity = { gateway, newEpoch: () => this.options.newEpoch() }
    try {
      return await loadOutbox(folder, identity, known)
    } catch (error) {
      if (codeOf(error) !== 'STORE_UNAVAILABLE') throw error
      // Opening writes a little; on a full disk that is what the reserve is for.
      await folder.spendReserve()
      this.reserveSpent = true
      return loadOutbox(folder, identity, known)
    }
  }

  private async stateOf(loaded: Loaded): Promise<State> {
    const { dedup, lanes } = this.options
    try {
      return await readState(loaded, { dedup, lanes, pace: this.pace })
    } catch (error) {
      // Nobody else knows of it: left open, it would lock us out.
      await loaded.store.close()
      throw error
    }
  }

  /** Says what loading found, and tells the cloud about damage before anything else is admitted. */
  private async takeOver(loaded: Loaded): Promise<void> {
    const { log, observer, folder } = this.options
    const { core } = this
    const damaged = loaded.damage.length > 0
    core.diskFreeBytes = await folder.freeBytes()
    if (!this.reserveSpent) await folder.restoreReserve()
    const draft = new Draft(core.state.head, core.state.devices)
    draft.operations.push(...loaded.operations)
    for (const entry of loaded.announcements) appendLedgerEntry(core, draft, entry)
    if (damaged) while (core.state.undelivered.size > 0) reportInto(core, draft)
    draft.touch()
    await this.write(draft, { sync: damaged })
    for (const { kind, detail, lost } of loaded.damage) {
      log.error({ code: 'OUTBOX_DAMAGED', kind, detail, lost }, 'the outbox was damaged')
      if (lost > 0) observer.lost(lost)
    }
    await this.findOldest()
  }

  private async reopen(attempt: number, reason: unknown): Promise<void> {
    const { core } = this
    const { folder, clock, random, log } = this.options
    const known: Known = { head: core.state.head }
    if (codeOf(reason) === 'STORE_CORRUPT') known.fault = messageOf(reason)
    for (let tries = attempt; ; tries++) {
      if (this.closing.signal.aborted) throw closedError()
      try {
        await core.state.store.close()
        await folder.spendReserve()
        this.reserveSpent = true
        await clock.sleep(backoffMs(tries, reopenBackoff, random), this.closing.signal)
        const loaded = await this.load(known)
        // What is found is not on record before the write below has landed.
        if (loaded.damage[0]) known.fault ??= loaded.damage[0].detail
        core.state = await this.stateOf(loaded)
        core.removing.clear()
        core.removalUnderWay = false
        core.doubtful = this.allHanded()
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

  private allHanded(): Set<number> {
    const { inFlight, releasing } = this.core.handed
    return new Set([...inFlight.keys(), ...releasing.keys()])
  }

  /** After opening: fills the dedup filters, and after a crash counts whether everything is there. */
  private inBackground(clean: boolean): void {
    const { state } = this.core
    const check = async (): Promise<void> => {
      try {
        if (!clean) await this.verify(state)
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

  private async verify({ store, head }: State): Promise<void> {
    const expected = head.depth.high + head.depth.normal
    let found = 0
    for await (const keys of store.keys(allEvents)) {
      if (this.closing.signal.aborted) return
      found += keys.length
    }
    if (found !== expected) await this.commands.submit({ kind: 'recount' })
  }

  private async recountInto(draft: Draft): Promise<void> {
    const { observer, log } = this.options
    const { store, head, undelivered } = this.core.state
    const counted = await recount(store, { known: head, undelivered: undelivered.all() })
    const expected = head.depth.high + head.depth.normal
    const found = counted.totals.depth.high + counted.totals.depth.normal
    log.error({ code: 'OUTBOX_DAMAGED', expected, found }, 'the outbox does not hold what it should')
    draft.operations.push(...counted.operations)
    draft.adopt(counted.totals, counted.devices)
    for (const range of counted.missing) undelivered.note(range, draft.operations)
    this.core.doubtful = this.allHanded()
    if (counted.lost > 0) {
      draft.undelivered.set('lost', counted.lost)
      observer.lost(counted.lost)
    }
  }

  /** Everything was read, nothing is in flight, and still something is queued: then it is not there. */
  private get runDry(): boolean {
    const { state, handed, reading } = this.core
    const { head, lanes } = state
    if (head.depth.high + head.depth.normal === 0 || reading) return false
    return handed.inFlight.size + handed.releasing.size === 0 && lanes.waitMs(head.position) === Infinity
  }

  private async shutDown(): Promise<void> {
    this.closing.abort()
    this.timer?.cancel()
    this.core.holding.rejectAll(closedError())
    await this.commands.close()
    this.core.holding.rejectAll(closedError())
    await this.background
    this.wake()
    const { store, head, devices } = this.core.state
    try {
      // After a failed write only the disk knows how it stands: the head in memory could undo what has landed.
      if (this.failing) return
      const draft = new Draft(head, devices)
      draft.head.clean = true
      draft.touch()
      await store.write(draft.finish(this.core.steady.now(), this.core.steady.wallMs()), { sync: true })
      await this.options.folder.writeMark(markOf(draft.head))
    } catch (error) {
      this.options.log.warn(
        { code: codeOf(error), detail: messageOf(error) },
        'the outbox was not closed in order',
      )
    } finally {
      await store.close()
    }
  }
}

function closedError(): TidegateError {
  return new TidegateError('OUTBOX_CLOSED', {
    message: 'the outbox is closed',
    retryable: true,
    hint: 'the gateway is stopping; the device keeps the event and sends it again',
  })
}
