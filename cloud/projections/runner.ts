import { backoffMs } from '../../src/backoff.ts'
import type { ReadAs } from '../../src/schemas/upcast/read-as.ts'
import type { Clock, Random } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Statements } from '../database/statements.ts'
import type { Storage, Transaction } from '../database/storage.ts'
import type { HistoryReader } from '../history/reader.ts'
import {
  ApplyFailed,
  applyEvents,
  type Attempt,
  batchOf,
  doJob,
  JobFailed,
  type ToApply,
} from './applying.ts'
import type { ProjectedEvent, LoadedProjection } from './definition.ts'
import { asFault, haltedAt, isAwaiting, isTemporary, poisonOf } from './poison.ts'
import { type BatchLimit, createBatchLimit, createRate, type Turns } from './pace.ts'
import type { Job, Lease, Leases, Poison, Standing, Tables, VersionsIn } from './versions.ts'

export interface RunnerOptions {
  projection: LoadedProjection
  /** Of `tables` and `events`: what must not change under a number. */
  definition: string
  /** Of one call of `apply`, ms. */
  timeoutMs: number
  storage: Storage
  leases: Leases
  tables: Tables
  versionsIn: (tx: Statements) => VersionsIn
  readerIn: (tx: Statements) => HistoryReader
  /** For a projection that asks for versions. */
  readAs: ReadAs
  runJob: (tx: Transaction, job: Job, upTo: string, applying: ToApply) => Promise<object>
  clock: Clock
  random: Random
  log: Logger
  leaseMs: number
  /** Events of a transaction at most. */
  batchMax: number
  /** Who may build: more at once would be no faster, and hold more in memory. */
  turns: Turns
}

/** How this instance stands to a version. */
export interface RunnerStatus {
  name: string
  version: number
  /** `waiting`: another instance has the lease. */
  doing: 'starting' | 'waiting' | 'working' | 'halted'
  /** Why it gets no further, if it does not. */
  fault: TidegateError | undefined
  /** Behind history, ms; of an instance that works. */
  lagMs: number
  /** Events since the start. */
  applied: number
}

export interface Runner {
  readonly status: RunnerStatus
  /** Schemas have changed, and with them perhaps its definition; an event that waits for a schema is tried again. */
  schemasChanged(definition: string): void
  /** Gives the lease back when what is under way has settled. */
  close(): Promise<void>
}

const pollMs = 100
/** A halted version is looked at so often: whether somebody has said to go on. */
const haltedPollMs = 1000
/** Text of events that a transaction holds at most, and one event more. */
const pageBytesMax = 8 * 1024 ** 2
const backoff = { delayMsMin: 100, delayMsMax: 10_000 }

/** Works at a version while its lease is held here, and stands by otherwise, until closed. */
export function startRunner(options: RunnerOptions): Runner {
  const runner = new VersionRunner(options)
  const running = runner.run()
  let closing: Promise<void> | undefined
  return {
    status: runner.status,
    schemasChanged: (definition) => runner.schemasChanged(definition),
    close: () => (closing ??= runner.stop(running)),
  }
}

/** `crowded`: others build, and it waits for its turn. */
type Done = 'more' | 'idle' | 'halted' | 'crowded'

class VersionRunner {
  readonly status: RunnerStatus
  readonly #options: RunnerOptions
  readonly #log: Logger
  readonly #stopping = new AbortController()
  readonly #rate: ReturnType<typeof createRate>
  #lease: Lease | undefined
  readonly #limit: BatchLimit
  /** As far as there was nothing more to do, so that a version that waits writes nothing. */
  #idleAt: string | undefined
  #attempt: Attempt | undefined
  /** Where this instance has found for itself that an event waits for a schema. */
  #awaitsAt: string | undefined
  #definition: string
  /** Its definition is another than what it has registered: nothing more is derived until it has registered that. */
  #isStale = false

  constructor(options: RunnerOptions) {
    const { name, version } = options.projection
    this.#options = options
    this.#definition = options.definition
    this.#limit = createBatchLimit(options.batchMax)
    this.#log = options.log.child({ projection: name, version })
    this.#rate = createRate(options.clock)
    this.status = { name, version, doing: 'starting', fault: undefined, lagMs: 0, applied: 0 }
  }

  get #signal(): AbortSignal {
    return this.#stopping.signal
  }

  get #applying(): ToApply {
    const { projection, readAs, timeoutMs, clock } = this.#options
    const read: ReadAs = (event, version) => {
      if (this.#isStale) throw otherUpcasters(projection)
      return readAs(event, version)
    }
    return { projection, readAs: read, timeoutMs, clock, log: this.#log, signal: this.#signal }
  }

  schemasChanged(definition: string): void {
    this.#awaitsAt = undefined
    if (definition === this.#definition) return
    this.#definition = definition
    this.#isStale = true
  }

  async run(): Promise<void> {
    let failures = 0
    while (!this.#signal.aborted) {
      try {
        await this.#workOrWait()
        failures = 0
      } catch (error) {
        if (this.#signal.aborted) return
        failures += 1
        this.#tellOf(error instanceof ApplyFailed ? error.cause : error)
        await this.#pause(backoffMs(failures, backoff, this.#options.random))
      }
    }
  }

  async stop(running: Promise<void>): Promise<void> {
    this.#stopping.abort()
    await running
    if (this.#lease) await this.#options.leases.leave(this.#lease).catch(() => {})
  }

  #tellOf(error: unknown): void {
    const code = codeOf(error)
    // What it gives up itself it still has to give back.
    if (code === 'PROJECTION_LEASE_LOST' && !this.#isStale) this.#lease = undefined
    const isNew = this.status.fault?.code !== code
    // History was put back behind it: nothing but a rebuild helps.
    if (code === 'CURSOR_AHEAD') this.status.doing = 'halted'
    this.status.fault = asFault(error)
    if (isNew) this.#log.warn({ code }, `the projection gets no further: ${messageOf(error)}`)
  }

  /** Works for a third of a lease, then sees to it that it has one still. */
  async #workOrWait(): Promise<void> {
    const { clock, leases, leaseMs } = this.#options
    if (this.#isStale) await this.#startAnew()
    const lease = (this.#lease ??= await this.#take())
    if (lease === undefined) return this.#pause(leaseMs / 3)
    const untilMs = clock.monotonicMs() + leaseMs / 3
    while (!this.#signal.aborted && !this.#isStale && clock.monotonicMs() < untilMs) {
      const done = await this.#step(lease)
      if (done !== 'more') await this.#pause(done === 'idle' ? pollMs : haltedPollMs)
    }
    if (!this.#signal.aborted && !(await leases.renew(lease))) this.#lease = undefined
  }

  /** As at a start: under its number it is what it was, or nothing. */
  async #startAnew(): Promise<void> {
    this.#isStale = false
    const lease = this.#lease
    this.#lease = undefined
    if (lease) await this.#options.leases.leave(lease).catch(() => {})
  }

  async #take(): Promise<Lease | undefined> {
    const { leases, projection } = this.#options
    await leases.register(projection, { definition: this.#definition, types: projection.types })
    const lease = await leases.take(projection)
    this.#idleAt = undefined
    if (lease) this.#log.info({ token: String(lease.token) }, 'works at the projection')
    else {
      this.status.doing = 'waiting'
      this.status.fault = undefined
    }
    return lease
  }

  /** One transaction: the tables, or a job, or a batch. Of a batch that fails, a smaller one follows, down to the event that is why. */
  async #step(lease: Lease): Promise<Done> {
    try {
      const done = (await this.#isIdle(lease)) ? 'idle' : await this.#transact(lease)
      if (done !== 'halted') {
        this.status.doing = 'working'
        this.status.fault = undefined
      }
      this.#limit.grow()
      return done
    } catch (error) {
      if (error instanceof JobFailed) return this.#failJob(lease, error)
      const attempt = this.#attempt
      const cause = error instanceof ApplyFailed ? error.cause : error
      if (attempt === undefined || !(error instanceof ApplyFailed || attempt.committing)) throw error
      const { at, events } = attempt
      const [first] = events
      this.#limit.shrink(events.length, isTemporary(cause))
      if (isTemporary(cause) || first === undefined) throw error
      if (events.length === 1) await this.#halt(lease, at, first, cause)
      return 'more'
    }
  }

  /** Looks without a lock: a transaction that locks is one that writes. */
  #isIdle(lease: Lease): Promise<boolean> {
    const from = this.#idleAt
    if (from === undefined) return Promise.resolve(false)
    const { storage, readerIn, versionsIn, projection } = this.#options
    return storage.transaction(async (tx) => {
      const { events } = await readerIn(tx).read(from, { types: projection.types, max: 1 })
      return events.length === 0 && !(await versionsIn(tx).isWanted(lease, from))
    }, this.#signal)
  }

  async #transact(lease: Lease): Promise<Done> {
    const { storage, versionsIn, tables, projection, runJob, turns } = this.#options
    let hasTurn = false
    this.#attempt = undefined
    const work = async (tx: Transaction): Promise<Done> => {
      const versions = versionsIn(tx)
      const at = await versions.lock(lease)
      if (at.state === 'new') {
        await tables.make(tx, projection)
        await versions.build(lease)
        return 'more'
      }
      const job = await versions.nextJob(lease)
      if (job) {
        const run = (applying: ToApply): Promise<object> => runJob(tx, job, at.cursor, applying)
        await versions.endJob(job.job, await doJob(job, run, this.#applying))
        return 'more'
      }
      if (at.poison && !this.#isToTry(at.poison))
        return this.#tellHalted(at.poison, await this.#lagBehind(tx, at.cursor))
      if (at.state === 'building' && !(hasTurn = turns.take())) return 'crowded'
      return this.#batch(tx, versions, lease, at)
    }
    return storage.transaction(work, this.#signal).finally(() => {
      if (hasTurn) turns.give()
    })
  }

  /** Another instance has stopped, or this one before its start or with other schemas: the schema may be here now. */
  #isToTry(poison: Poison): boolean {
    return isAwaiting(poison) && this.#awaitsAt !== poison.cursor
  }

  async #failJob(lease: Lease, { job, cause }: JobFailed): Promise<Done> {
    const failed = { code: codeOf(cause), message: messageOf(cause).replaceAll('\0', '').slice(0, 1000) }
    await this.#options.storage.transaction(async (tx) => {
      const versions = this.#options.versionsIn(tx)
      await versions.lock(lease)
      await versions.endJob(job, { failed })
    }, this.#signal)
    return 'more'
  }

  /** How long what would be applied next has been there. */
  async #lagBehind(tx: Transaction, cursor: string): Promise<number> {
    const { readerIn, projection, clock } = this.#options
    const [next] = (await readerIn(tx).read(cursor, { types: projection.types, max: 1 })).events
    return next ? Math.max(0, clock.now() - next.storedMs) : 0
  }

  async #batch(tx: Transaction, versions: VersionsIn, lease: Lease, at: Standing): Promise<Done> {
    const { readerIn, tables, projection, clock } = this.#options
    await tables.enter(tx, projection)
    const pageOptions = { types: projection.types, max: this.#limit.events, bytesMax: pageBytesMax }
    const read = await readerIn(tx).read(at.cursor, pageOptions)
    const { page, events } = batchOf(read, projection)
    this.#attempt = { at, events, committing: false }
    await applyEvents(events, tx, this.#applying)
    const last = page.events.at(-1)
    const lagMs = page.more && last ? Math.max(0, clock.now() - last.storedMs) : 0
    const applied = events.length
    const perSecond = this.#rate.add(applied)
    await versions.advance(lease, { cursor: page.next, applied, live: !page.more, perSecond, lagMs })
    this.#attempt.committing = true
    this.status.applied += applied
    this.status.lagMs = lagMs
    this.#idleAt = page.more ? undefined : page.next
    return page.more ? 'more' : 'idle'
  }

  /** A transaction of its own, behind the one that was rolled back: somebody may have had the version begin again in between. */
  async #halt(lease: Lease, at: Standing, event: ProjectedEvent, why: unknown): Promise<void> {
    const poison = poisonOf(why, event)
    const isHalted = await this.#options.storage.transaction(async (tx) => {
      const versions = this.#options.versionsIn(tx)
      await versions.lock(lease)
      return versions.halt(lease, at, poison)
    }, this.#signal)
    if (!isHalted) return
    this.#awaitsAt = isAwaiting(poison) ? poison.cursor : undefined
    this.#tellHalted(poison)
    const { source, id, type, code: cause } = poison
    this.#log.error({ code: 'PROJECTION_HALTED', source, id, type, cause }, 'the projection stopped')
  }

  #tellHalted(poison: Poison, lagMs = this.status.lagMs): Done {
    this.status.lagMs = lagMs
    this.status.doing = 'halted'
    this.status.fault = haltedAt(this.#options.projection, poison)
    return 'halted'
  }

  async #pause(delayMs: number): Promise<void> {
    await this.#options.clock.sleep(delayMs, this.#signal).catch((error: unknown) => {
      if (!isAbort(error)) throw error
    })
  }
}

function otherUpcasters({ name, version }: LoadedProjection): TidegateError {
  return new TidegateError('PROJECTION_LEASE_LOST', {
    message: `what brings events to the versions that projection ${name} ${version} asks for has changed: it starts anew`,
    retryable: true,
    hint: 'it is held against what was built under its number, and goes on if that is the same',
  })
}
