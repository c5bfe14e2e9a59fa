import type { SchemasUsed } from '../../../src/contract/schemas-used.ts'
import { codeOf, messageOf } from '../../../src/errors.ts'
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
import { encodeAnswered } from '../layout/answered.ts'
import type { StoredEvent } from '../layout/record.ts'
import { Loader } from '../opening/loader.ts'
import { steadyClockOf } from '../opening/state.ts'
import { createHanded } from '../rules/handed.ts'
import { Arrival, type Pending } from '../rules/arrival.ts'
import { createHolding } from '../rules/holding.ts'
import { createPace } from '../rules/pace.ts'
import { rangesPerReport } from '../rules/undelivered.ts'
import { countsOf, recountInto, runDry, tellLanded } from './accounting.ts'
import { admitInto, letIn } from './admit.ts'
import { ClockRecord } from './clock-record.ts'
import { Checkpoints, enterCheckpoint } from './checkpoints.ts'
import { closeStore } from './closing.ts'
import { type Command, type Core, lowestQueued, ownerOf, type Parts, weightOf } from './core.ts'
import { Departures } from './departures.ts'
import { Draft } from './draft.ts'
import { Housekeeping } from './housekeeping.ts'
import { enterSchemas, reportInto } from './ledger-entries.ts'
import { Oldest } from './oldest.ts'
import { endRemoval, releaseInto } from './removal.ts'
import { isStoreFailure, Reopening } from './reopening.ts'
import { closedError, WriterState } from './writer-state.ts'

/**
 * The outbox's single writer. Every change is a command; commands that arrive during a write share the next
 * one (group commit), so the store sees one atomic, synced write at a time and the head record is never raced.
 */
export class Engine implements Outbox {
  readonly #core: Core
  readonly #closing: AbortController
  readonly #commands: GroupCommit<Command, void>
  readonly #writer: WriterState
  readonly #oldest: Oldest
  readonly #clockRecord: ClockRecord
  readonly #checkpoints: Checkpoints
  readonly #departures: Departures
  readonly #housekeeping: Housekeeping
  readonly #reopening: Reopening
  #closed: Promise<void> | undefined

  /** @throws TidegateError as `openOutbox` */
  static async open(options: EngineOptions): Promise<Engine> {
    const pace = createPace(options.clock, options.lanes)
    const loader = new Loader(options, pace)
    const loaded = await loader.load()
    const closing = new AbortController()
    const core: Core = {
      options,
      holding: createHolding(),
      handed: createHanded(),
      steady: steadyClockOf(options.clock, loaded.head, options.clockSettleMs),
      closing: closing.signal,
      state: await loader.stateOf(loaded),
      removing: new Set(),
      removal: undefined,
      reading: undefined,
      doubtful: new Set(),
      schemas: [],
      readAgainFrom: undefined,
      diskFreeBytes: Infinity,
      lastReportMs: 0,
      lastHeadMs: 0,
    }
    const engine = new Engine({ core, pace, loader, closing })
    await engine.#reopening.begin(loaded)
    engine.#checkpoints.look()
    engine.#housekeeping.start()
    return engine
  }

  private constructor({ core, pace, loader, closing }: Parts) {
    this.#core = core
    this.#closing = closing
    this.#writer = new WriterState(core.options.clock)
    this.#commands = groupCommit((commands) => this.#commit(commands).finally(() => endRemoval(core)), {
      itemsMax: core.options.batchEventsMax,
      countOf: weightOf,
      ownerOf,
    })
    this.#oldest = new Oldest(core)
    this.#clockRecord = new ClockRecord(core, core.state.head.position + 1)
    this.#checkpoints = new Checkpoints(core, { submit: (command) => this.#commands.submit(command) })
    this.#departures = new Departures(core, pace, {
      release: (events) => this.#commands.submit({ kind: 'release', events }),
      reload: async (state, error) => {
        if (!core.closing.aborted) await this.#commands.submit({ kind: 'reload', state, error })
      },
    })
    this.#reopening = new Reopening(
      core,
      { loader, departures: this.#departures, oldest: this.#oldest },
      {
        submit: (command) => this.#commands.submit(command),
        write: (draft, options) => this.#write(draft, options),
      },
    )
    this.#housekeeping = new Housekeeping(
      core,
      { clockRecord: this.#clockRecord, loader, oldest: this.#oldest },
      {
        submit: (command) => this.#commands.submit(command),
        reload: (state, error) => this.#reopening.reloadAfter(error, state, 'outbox housekeeping failed'),
      },
    )
  }

  async append(submission: Submission, signal?: AbortSignal): Promise<Admission> {
    let admission: Admission | undefined
    await this.appendAll([submission], ([only]) => (admission = only), signal)
    return admission as Admission
  }

  appendAll(
    submissions: readonly Submission[],
    answered: (admissions: readonly Admission[]) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    if (this.#core.closing.aborted) return Promise.reject(closedError())
    if (submissions.length === 0) return Promise.resolve()
    const { clock, batchEventsMax } = this.#core.options
    const room = this.#core.options.waitingMax - this.#writer.unanswered
    const atMs = clock.monotonicMs()
    const arrival = new Arrival(submissions, { answered, signal, account: this.#writer, atMs })
    this.#writer.begin(arrival)
    const inLine = letIn(this.#core.options, arrival, {
      room,
      failing: this.#writer.failing,
      refusing: this.#refusing,
      holding: this.#core.holding,
    })
    for (let from = 0; from < inLine.length; from += batchEventsMax) {
      const pendings = inLine.slice(from, from + batchEventsMax)
      this.#commands.submit({ kind: 'append', pendings }).catch((error: unknown) => {
        for (const pending of pendings) arrival.giveUp(pending, error)
      })
    }
    return arrival.over
  }

  judgedBy(schemas: SchemasUsed): Promise<void> {
    if (this.#core.closing.aborted) return Promise.reject(closedError())
    this.#core.schemas.push(schemas)
    return this.#commands.submit({ kind: 'schemas' })
  }

  take(eventsMax: number): Promise<Queued[]> {
    return this.#departures.take(eventsMax)
  }

  ready(signal: AbortSignal): Promise<void> {
    return this.#departures.ready(signal)
  }

  release(events: readonly Queued[]): Promise<void> {
    return this.#departures.release(events)
  }

  rewind(): void {
    this.#departures.rewind()
  }

  resumed(): void {
    this.#departures.resumed()
  }

  /** By the counts that are kept anyway: asking costs nothing, however much is queued. */
  stats(): OutboxStats {
    return {
      ...countsOf(this.#core),
      oldestAgeMs: this.#oldest.agesMs(),
      waiting: this.#writer.unanswered,
      stuckMs: this.#writer.stuckMs(),
      refusing: this.#refusing,
      unsigned: this.#checkpoints.stats(),
    }
  }

  snapshot() {
    return this.#core.state.store.snapshot()
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#shutDown())
  }

  get #refusing(): QuotaReason | undefined {
    return this.#writer.failing ? 'store-failed' : this.#core.holding.reason
  }

  async #commit(commands: Command[]): Promise<void[]> {
    // Closed before it could be opened again: what we know may be older than what has landed.
    if (this.#writer.failing) throw closedError()
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#attempt(commands)
        this.#writer.failing = false
        return commands.map(() => undefined)
      } catch (error) {
        if (!isStoreFailure(error)) {
          this.#writer.failing = false
          throw error
        }
        const { log, observer } = this.#core.options
        log.error({ code: codeOf(error), detail: messageOf(error) }, 'the outbox cannot write')
        const inLine = this.#writer.unanswered - this.#core.holding.size
        if (!this.#writer.failing) observer.refused('store-failed', inLine)
        this.#writer.failing = true
        await this.#reopening.reopen(attempt, error)
      }
    }
  }

  async #attempt(commands: Command[]): Promise<void> {
    const core = this.#core
    const { state, handed } = core
    const draft = new Draft(state)
    const released: StoredEvent[] = []
    const arrived: Pending[] = []
    const asked = (kind: Command['kind']): boolean => commands.some((command) => command.kind === kind)
    if (asked('recount') || (asked('housekeep') && runDry(core))) await recountInto(core, draft)
    // In front of whatever this write takes: none of it is older than what it is judged by.
    const named = enterSchemas(core, draft)
    for (const command of commands) {
      switch (command.kind) {
        case 'append':
          arrived.push(...command.pendings)
          break
        case 'release':
          released.push(...command.events)
          break
        case 'housekeep':
          await this.#housekeeping.keepInto(draft)
          break
        case 'checkpoint':
          enterCheckpoint(core, draft, command.checkpoint)
          break
        case 'schemas':
          // As of every write.
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
    await releaseInto(core, draft, released)
    const admitted = await admitInto(core, draft, arrived)
    const hashes = [...admitted.hashes]
    while (state.undelivered.size >= rangesPerReport) reportInto(core, draft)
    if (!draft.empty) {
      state.dedup.remember(hashes, state.head.position, draft.operations)
      draft.head.generation.count += hashes.length
      for (const lane of bothLanes) draft.head.first[lane] = lowestQueued(core, lane, draft)
      await this.#write(draft)
      state.dedup.committed(hashes)
      state.lanes.advance('normal', draft.evictedTo('normal', state.lanes) + 1)
    }
    // Only now that the write has landed does anything that lives on change, or anybody hear of it.
    // The newest stays: a head that is made anew is to learn it.
    core.schemas.splice(0, Math.max(0, named - 1))
    this.#clockRecord.landed()
    for (const { position } of released) handed.releasing.delete(position)
    admitted.settle()
    this.#checkpoints.look()
  }

  async #write(draft: Draft, { sync } = { sync: draft.urgent }): Promise<void> {
    const core = this.#core
    const { state } = core
    const operations = draft.finish(core.steady.now(), core.steady.wallMs())
    // Appends are synced before anybody is told (G1). A release that is lost is only sent again.
    await state.store.write(operations, { sync: sync || draft.urgent })
    // Who is told next must be known to have been told, should what was written last become unreadable (G1).
    await state.store.noteAnswered(encodeAnswered(draft.head, { closed: false }), { sync: false })
    core.lastHeadMs = core.options.clock.monotonicMs()
    state.head = draft.head
    draft.landed(state.devices)
    this.#oldest.landed(draft)
    tellLanded(core, draft)
    this.#departures.wake()
  }

  async #shutDown(): Promise<void> {
    this.#closing.abort()
    this.#core.holding.rejectAll(closedError())
    await this.#housekeeping.stop()
    await this.#checkpoints.settled()
    await this.#commands.close()
    this.#core.holding.rejectAll(closedError())
    await this.#reopening.settled()
    this.#departures.wake()
    const inOrder = !this.#writer.failing
    const checkpoint = inOrder ? await this.#checkpoints.last() : undefined
    await closeStore(this.#core, { inOrder, checkpoint })
  }
}
