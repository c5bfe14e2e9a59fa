import { backoffMs } from '../../src/backoff.ts'
import { codeOf, isAbort, messageOf, TidegateError } from '../../src/errors.ts'
import { eventKey, type LedgerEntry, ledgerType, type Undelivered } from '../../src/event.ts'
import { type GroupCommit, groupCommit } from '../../src/group-commit.ts'
import type { Admission, Lane, Outbox, OutboxStats, Queued, QuotaReason, Submission } from '../outbox.ts'
import type { DedupOptions } from './dedup.ts'
import { hashOf } from './dedup.ts'
import { Draft } from './draft.ts'
import { createHolding, type Holding, type Pending } from './holding.ts'
import { allEvents, eventKey as storedKey, eventRange, expiredBefore, parseExpiryKey } from './keys.ts'
import { createLanes, type LanesOptions } from './lanes.ts'
import type { OutboxOptions } from './open.ts'
import { createPace, type Pace } from './pace.ts'
import { boundMet, type QuotaOptions, totalUsage } from './quota.ts'
import { decodeRecord, type StoredEvent } from './record.ts'
import { type Damage, epochOfEvent, type Loaded, loadOutbox, markOf, recount } from './recovery.ts'
import { createHanded, readState, type State, steadyClockOf } from './state.ts'
import type { SteadyClock } from './steady-clock.ts'
import { rangesPerReport, type UndeliveredRange } from './undelivered.ts'

export interface EngineOptions extends Omit<OutboxOptions, 'quota' | 'lanes'> {
  quota: QuotaOptions
  lanes: LanesOptions
  dedup: DedupOptions
  batchEventsMax: number
  waitingMax: number
  reportIntervalMs: number
  clockSettleMs: number
  newEpoch(): string
}

type Command =
  | { kind: 'append'; pending: Pending }
  | { kind: 'release'; events: StoredEvent[] }
  | { kind: 'housekeep' }
  | { kind: 'recount' }
  | { kind: 'reload'; state: State; error: unknown }

const lanes = ['high', 'normal'] as const satisfies Lane[]
const tickMs = 1000
const markEveryMs = 10_000
const headEveryMs = 30_000
const evictEventsMin = 100
const expireEventsMax = 1000
const reopenBackoff = { delayMsMin: 100, delayMsMax: 5000 }

/**
 * The outbox's single writer. Every change is a command; commands that arrive during a write share the next
 * one (group commit), so the store sees one atomic, synced write at a time and the head record is never raced.
 */
export class Engine implements Outbox {
  private readonly options: EngineOptions
  private readonly commands: GroupCommit<Command, void>
  private readonly holding: Holding = createHolding()
  private readonly handed = createHanded()
  private readonly pace: Pace
  private readonly closing = new AbortController()
  private readonly removing = new Set<number>()
  private removalUnderWay = false
  /** Lower bounds of a read under way: read from the cursor, not yet handed out. */
  private reading: Record<Lane, number> | undefined
  /** Positions whose release may or may not have landed before a reload. */
  private doubtful = new Set<number>()
  private state!: State
  private steady!: SteadyClock
  private diskFreeBytes = Infinity
  private reserveSpent = false
  private oldestSteadyMs: Record<Lane, number> = { high: 0, normal: 0 }
  private firstOfClockPeriod = 1
  /** A move of the clock that is not on record yet. */
  private jumpMs = 0
  private lastReportMs = 0
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
    this.steady = steadyClockOf(clock, loaded.head, this.options.clockSettleMs)
    this.firstOfClockPeriod = loaded.head.position + 1
    await this.adopt(loaded)
    this.background = this.inBackground(loaded.clean)
    this.schedule()
  }

  append(submission: Submission, signal?: AbortSignal): Promise<Admission> {
    const { waitingMax, observer } = this.options
    if (this.closing.signal.aborted) return Promise.reject(closedError())
    if (this.holding.size + this.commands.pending >= waitingMax) {
      observer.refused('waiting')
      if (submission.qos === 0)
        return Promise.resolve({ kind: 'shed', reason: this.holding.reason ?? 'store-failed' })
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
    const { state, handed } = this
    const { lanes: source, head } = state
    this.reading = source.next
    if (!this.removalUnderWay) this.removing.clear()
    try {
      const events = await source.read(eventsMax, head.position, (position) => handed.busy(position))
      // The uplink was lost, or the store was opened again, while we read: these will be read again.
      if (source !== this.state.lanes) return []
      const taken = events.filter((event) => !this.removing.has(event.position))
      for (const event of taken) handed.inFlight.set(event.position, event)
      return taken
    } catch (error) {
      if (!this.closing.signal.aborted) await this.commands.submit({ kind: 'reload', state, error })
      return []
    } finally {
      this.reading = undefined
    }
  }

  async ready(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const waitMs = this.state.lanes.waitMs(this.state.head.position)
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
    const { inFlight, releasing } = this.handed
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
    const first = { high: this.lowest('high'), normal: this.lowest('normal') }
    this.handed.inFlight.clear()
    this.state.lanes = createLanes(this.state.store, this.pace, this.options.lanes, first)
    this.wake()
  }

  resumed(): void {
    const { head } = this.state
    this.state.lanes.split(head.position, head.depth.normal)
    this.wake()
  }

  stats(): OutboxStats {
    const { head, devices, dedup, lanes: source } = this.state
    const nowMs = this.steady.now()
    const ages = lanes.map((lane) => (head.depth[lane] > 0 ? nowMs - this.oldestSteadyMs[lane] : 0))
    return {
      epoch: head.epoch,
      lastSequence: head.position - head.epochBase,
      depth: { ...head.depth },
      bytes: { ...head.bytes },
      backlog: source.backlogLeft(),
      inFlight: this.handed.inFlight.size,
      oldestAgeMs: Math.max(0, ...ages),
      waiting: this.holding.size,
      refusing: this.holding.reason,
      devices: devices.size,
      rememberedIds: dedup.count(),
    }
  }

  close(): Promise<void> {
    return (this.closed ??= this.shutDown())
  }

  // --- the write -------------------------------------------------------------------------------------------

  private async commit(commands: Command[]): Promise<void[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.attempt(commands)
        return commands.map(() => undefined)
      } catch (error) {
        if (!['STORE_UNAVAILABLE', 'STORE_CORRUPT'].includes(codeOf(error))) throw error
        this.options.log.error({ code: codeOf(error), detail: messageOf(error) }, 'the outbox cannot write')
        this.options.observer.refused('store-failed')
        await this.reopen(attempt, error)
      }
    }
  }

  private async attempt(commands: Command[]): Promise<void> {
    const { state, handed } = this
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
    await this.releaseInto(draft, released)
    const hashes = await this.admitInto(draft, arrived, settle)
    if (state.undelivered.size >= rangesPerReport) this.reportInto(draft)
    if (!draft.empty) {
      state.dedup.remember(hashes, draft.operations)
      draft.head.generation.count += hashes.length
      for (const lane of lanes) draft.head.first[lane] = this.lowest(lane, draft)
      await this.write(draft)
      state.dedup.committed(hashes)
      state.lanes.advance('normal', draft.evictedTo.normal + 1)
    }
    // Only now that the write has landed does anything that lives on change, or anybody hear of it.
    this.jumpMs = 0
    for (const { position } of released) handed.releasing.delete(position)
    for (const done of settle) done()
  }

  private async write(draft: Draft): Promise<void> {
    const { clock, observer } = this.options
    const { state } = this
    const operations = draft.finish(this.steady.now(), clock.now())
    const startedMs = clock.monotonicMs()
    // Appends are synced before anybody is told (G1). A release that is lost is only sent again.
    await state.store.write(operations, { sync: draft.appended.length > 0 })
    this.lastHeadMs = clock.monotonicMs()
    state.head = draft.head
    draft.applyUsage(state.devices)
    this.removalUnderWay = false
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

  // --- admission -------------------------------------------------------------------------------------------

  /** Appends what is new and fits; returns the hashes to remember. Callers are answered by `settle`. */
  private async admitInto(draft: Draft, arrived: Pending[], settle: (() => void)[]): Promise<string[]> {
    const { holding } = this
    const waited = holding.next(this.options.batchEventsMax)
    const pendings = [...waited, ...arrived]
    if (pendings.length === 0) return []
    const overtakes = (pending: Pending, index: number): boolean =>
      index >= waited.length && holding.has(pending.submission.candidate.partitionkey)
    const { clock, observer, quota } = this.options
    const { dedup } = this.state
    const steadyMs = this.steady.now()
    const recordedAtMs = clock.now()
    const recordedTime = new Date(recordedAtMs).toISOString()
    const remembered = await dedup.remembered(pendings.map(({ hash }) => hash))
    dedup.rotate(draft.head, steadyMs, draft.operations)
    const hashes = new Set<string>()
    const blockedDevices = new Set<string>()
    let blocked: QuotaReason | undefined

    for (const [index, pending] of pendings.entries()) {
      const { candidate, lane, qos, ttlMs } = pending.submission
      const answer = (admission: Admission): void => {
        settle.push(() => {
          holding.drop(pending)
          observer.admitted(admission.kind)
          pending.resolve(admission)
        })
      }
      const refuse = (reason: QuotaReason): void => {
        observer.refused(reason)
        if (qos === 0) answer({ kind: 'shed', reason })
        else settle.push(() => holding.hold(pending, reason))
      }
      const device = candidate.partitionkey
      if (remembered[index] || hashes.has(pending.hash)) {
        answer({ kind: 'duplicate' })
        continue
      }
      // A device's events keep their order: behind one that waits, all wait.
      const standing =
        blocked ?? (blockedDevices.has(device) || overtakes(pending, index) ? 'device-share' : undefined)
      if (standing !== undefined) {
        refuse(standing)
        continue
      }
      const encoded = draft.encode(candidate, recordedTime)
      const bytes = Buffer.byteLength(encoded.text)
      const bound = (): QuotaReason | undefined =>
        boundMet(
          quota,
          totalUsage(draft.head.depth, draft.head.bytes),
          draft.usageOf(device),
          this.diskFreeBytes,
          {
            bytes,
            qos,
          },
        )
      let reason = bound()
      while (quota.full === 'evict' && (reason === 'events' || reason === 'bytes')) {
        if (!(await this.evictInto(draft, bytes))) break
        reason = bound()
      }
      if (reason === undefined) {
        const event = draft.append(candidate, encoded, { lane, bytes, recordedAtMs, steadyMs, ttlMs })
        hashes.add(pending.hash)
        answer({ kind: 'accepted', sequence: event.sequence })
        continue
      }
      refuse(reason)
      if (qos === 0) continue
      if (reason === 'device-share') blockedDevices.add(device)
      else blocked = reason
    }
    return [...hashes]
  }

  // --- leaving without delivery ----------------------------------------------------------------------------

  /** Evicts some of the oldest events of the lowest lane that has any; false if there is nothing to evict. */
  private async evictInto(draft: Draft, bytesNeeded: number): Promise<boolean> {
    const { store } = this.state
    for (const lane of lanes.toReversed()) {
      if (draft.head.depth[lane] === 0) continue
      const from = Math.max(this.lowestUnread(lane), draft.evictedTo[lane] + 1)
      const entries = await store.entries(eventRange(lane, from, this.state.head.position), evictEventsMin)
      let freedBytes = 0
      let count = 0
      for (const [key, value] of entries) {
        const event = decodeRecord(lane, Number(key.slice(4)), value)
        draft.evictedTo[lane] = event.position
        if (
          this.handed.busy(event.position) ||
          draft.removed.has(event.position) ||
          event.type === ledgerType
        )
          continue
        this.removeUndelivered(draft, event, 'evicted')
        freedBytes += event.bytes
        count += 1
        if (count >= evictEventsMin && freedBytes >= bytesNeeded) break
      }
      if (count > 0) return true
      if (entries.length > 0) return this.evictInto(draft, bytesNeeded)
    }
    return false
  }

  private async expireInto(draft: Draft): Promise<boolean> {
    const { store } = this.state
    const due = await store.entries(expiredBefore(this.steady.now()), expireEventsMax)
    for (const [key] of due) {
      const { position, lane } = parseExpiryKey(key)
      if (this.handed.busy(position)) continue
      const value = await store.get(storedKey(lane, position))
      if (value === undefined) draft.operations.push({ type: 'del', key })
      else this.removeUndelivered(draft, decodeRecord(lane, position, value), 'expired')
    }
    return due.length === expireEventsMax
  }

  /** G2: leaves the store and enters the ledger in the same write. */
  private removeUndelivered(draft: Draft, event: StoredEvent, reason: Undelivered): void {
    this.removalUnderWay = true
    this.removing.add(event.position)
    draft.remove(event)
    draft.undelivered.set(reason, (draft.undelivered.get(reason) ?? 0) + 1)
    const range: UndeliveredRange = {
      from: event.position,
      to: event.position,
      reason,
      ...epochOfEvent(this.state.head, event),
    }
    this.state.undelivered.note(range, draft.operations)
  }

  private async releaseInto(draft: Draft, events: StoredEvent[]): Promise<void> {
    const doubted = events.filter(({ position }) => this.doubtful.has(position))
    const there = await this.state.store.hasMany(
      doubted.map(({ lane, position }) => storedKey(lane, position)),
    )
    const gone = new Set(doubted.filter((_, index) => !there[index]))
    for (const event of events) {
      this.doubtful.delete(event.position)
      if (!gone.has(event)) draft.remove(event)
    }
  }

  // --- the ledger ------------------------------------------------------------------------------------------

  private appendLedgerEntry(draft: Draft, entry: LedgerEntry): void {
    const { clock } = this.options
    const { gateway, epoch, position, epochBase } = draft.head
    const nowMs = clock.now()
    const time = new Date(nowMs).toISOString()
    const candidate = {
      specversion: '1.0',
      id: `${epoch}-${position + 1 - epochBase}`,
      source: `/gateways/${gateway}`,
      type: ledgerType,
      time,
      datacontenttype: 'application/json',
      partitionkey: gateway,
      data: entry,
    } as const
    const encoded = draft.encode(candidate, time)
    const bytes = Buffer.byteLength(encoded.text)
    draft.append(candidate, encoded, {
      lane: 'high',
      bytes,
      recordedAtMs: nowMs,
      steadyMs: this.steady.now(),
      ttlMs: undefined,
    })
  }

  private reportInto(draft: Draft): void {
    const report = this.state.undelivered.take(draft.operations)
    if (!report) return
    this.appendLedgerEntry(draft, { kind: 'undelivered', ...report })
    this.lastReportMs = this.options.clock.monotonicMs()
  }

  // --- housekeeping ----------------------------------------------------------------------------------------

  private schedule(delayMs = tickMs): void {
    this.timer = this.options.clock.after(delayMs, () => {
      void this.tickSafely()
    })
  }

  private async tickSafely(): Promise<void> {
    try {
      await this.tick()
    } catch (error) {
      if (this.closing.signal.aborted) return
      this.options.log.error({ code: codeOf(error), detail: messageOf(error) }, 'outbox housekeeping failed')
      this.more = false
    }
    if (!this.closing.signal.aborted) this.schedule(this.more ? 0 : tickMs)
  }

  private async tick(): Promise<void> {
    const { folder, clock, quota } = this.options
    this.diskFreeBytes = await folder.freeBytes()
    if (this.reserveSpent && this.diskFreeBytes > 2 * quota.diskFreeBytesMin) {
      await folder.restoreReserve()
      this.reserveSpent = false
    }
    this.more = false
    await this.commands.submit({ kind: 'housekeep' })
    await this.state.dedup.expire(this.steady.now())
    const nowMs = clock.monotonicMs()
    if (nowMs - this.lastMarkMs >= markEveryMs) {
      this.lastMarkMs = nowMs
      await folder.writeMark(markOf(this.state.head))
    }
    await this.findOldest()
  }

  private async housekeepInto(draft: Draft): Promise<void> {
    const { clock, reportIntervalMs } = this.options
    const { head, undelivered } = this.state
    const jump = this.steady.check()
    if (jump) {
      this.options.log.warn({ offsetMs: jump.offsetMs }, 'the wall clock was moved')
      this.jumpMs += jump.offsetMs
    }
    if (this.jumpMs !== 0) {
      const from = Math.max(this.firstOfClockPeriod, head.epochBase + 1)
      if (head.position >= from) {
        this.appendLedgerEntry(draft, {
          kind: 'clock-corrected',
          epoch: head.epoch,
          from: from - head.epochBase,
          to: head.position - head.epochBase,
          offsetMs: this.jumpMs,
        })
      }
      this.firstOfClockPeriod = draft.head.position + 1
    }
    this.more = await this.expireInto(draft)
    const nowMs = clock.monotonicMs()
    if (undelivered.size > 0 && nowMs - this.lastReportMs >= reportIntervalMs) this.reportInto(draft)
    // An idle gateway still remembers how late it is (time to live across power-off).
    if (nowMs - this.lastHeadMs >= headEveryMs) draft.touch()
  }

  private async findOldest(): Promise<void> {
    const { store } = this.state
    for (const lane of lanes) {
      const [entry] = await store.entries(eventRange(lane, this.lowest(lane)), 1)
      if (entry)
        this.oldestSteadyMs[lane] = decodeRecord(lane, Number(entry[0].slice(4)), entry[1]).admittedSteadyMs
    }
  }

  /** Lowest position of a lane that may still be queued, those that `draft` removes left out. */
  private lowest(lane: Lane, draft?: Draft): number {
    // Only the normal lane is evicted without a gap: in the high lane ledger events stay.
    const evictedTo = lane === 'normal' ? (draft?.evictedTo.normal ?? 0) : 0
    let lowest = Math.max(this.lowestUnread(lane), evictedTo + 1)
    for (const events of [this.handed.inFlight, this.handed.releasing]) {
      for (const event of events.values()) {
        if (event.lane === lane && event.position < lowest && !draft?.removed.has(event.position))
          lowest = event.position
      }
    }
    return lowest
  }

  private lowestUnread(lane: Lane): number {
    return Math.min(this.reading?.[lane] ?? Infinity, this.state.lanes.next[lane])
  }

  private wake(): void {
    this.wakeReader?.()
    this.wakeReader = undefined
  }

  // --- opening, reopening, closing -------------------------------------------------------------------------

  private async load(known: Damage[] = []): Promise<Loaded> {
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

  /** Takes over what loading found, and tells the cloud about damage before anything else is admitted. */
  private async adopt(loaded: Loaded): Promise<void> {
    const { log, observer, folder } = this.options
    this.state = await readState(loaded, { ...this.options, pace: this.pace })
    this.removing.clear()
    this.removalUnderWay = false
    for (const { kind, detail, lost } of loaded.damage) {
      log.error({ code: 'OUTBOX_DAMAGED', kind, detail, lost }, 'the outbox was damaged')
      if (lost > 0) observer.lost(lost)
    }
    this.diskFreeBytes = await folder.freeBytes()
    if (!this.reserveSpent) await folder.restoreReserve()
    const draft = new Draft(this.state.head, this.state.devices)
    for (const entry of loaded.announcements) this.appendLedgerEntry(draft, entry)
    while (loaded.damage.length > 0 && this.state.undelivered.size > 0) this.reportInto(draft)
    draft.touch()
    await this.write(draft)
    await this.findOldest()
  }

  private async reopen(attempt: number, reason: unknown): Promise<void> {
    const { folder, clock, random, log } = this.options
    const { store } = this.state
    for (let tries = attempt; ; tries++) {
      if (this.closing.signal.aborted) throw closedError()
      try {
        await store.close()
        await folder.spendReserve()
        this.reserveSpent = true
        await clock.sleep(backoffMs(tries, reopenBackoff, random), this.closing.signal)
        const damage: Damage[] = []
        if (codeOf(reason) === 'STORE_CORRUPT') {
          await folder.repair()
          damage.push({ kind: 'repaired', detail: messageOf(reason), lost: 0 })
        }
        const loaded = await this.load(damage)
        this.doubtful = new Set(this.handed.releasing.keys())
        await this.adopt(loaded)
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

  /** After a start: fills the dedup filters, and after a crash counts whether everything is there. */
  private async inBackground(clean: boolean): Promise<void> {
    try {
      const { state } = this
      if (!clean) await this.verify(state)
      await state.dedup.warmUp(this.closing.signal)
    } catch (error) {
      if (!this.closing.signal.aborted) {
        this.options.log.error(
          { code: codeOf(error), detail: messageOf(error) },
          'checking the outbox failed',
        )
      }
    }
  }

  private async verify({ store, head }: State): Promise<void> {
    const expected = head.depth.high + head.depth.normal
    let found = 0
    for await (const keys of store.keys(allEvents)) {
      if (this.closing.signal.aborted) return
      found += keys.length
    }
    if (found !== expected) {
      this.options.log.error(
        { code: 'OUTBOX_DAMAGED', expected, found },
        'the outbox holds fewer events than it should',
      )
      await this.commands.submit({ kind: 'recount' })
    }
  }

  private async recountInto(draft: Draft): Promise<void> {
    const { store, head } = this.state
    const { totals, devices, lost, lostRanges } = await recount(store, head, [])
    draft.adopt(totals, devices)
    for (const range of lostRanges) this.state.undelivered.note(range, draft.operations)
    if (lost > 0) {
      draft.undelivered.set('lost', lost)
      this.options.observer.lost(lost)
    }
  }

  private async shutDown(): Promise<void> {
    this.closing.abort()
    this.timer?.cancel()
    this.holding.rejectAll(closedError())
    await this.commands.close()
    this.holding.rejectAll(closedError())
    await this.background
    this.wake()
    const { store, head, devices } = this.state
    try {
      const draft = new Draft(head, devices)
      draft.head.clean = true
      draft.touch()
      await store.write(draft.finish(this.steady.now(), this.options.clock.now()), { sync: true })
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
