import { randomUUID } from 'node:crypto'
import type { Clock } from '../src/clock.ts'
import { createScope, type Scope } from '../src/lifecycle.ts'
import { gatherEvidence, keepEvidence } from './evidence/evidence.ts'
import { createSaboteur, type Saboteur } from './faults/saboteur.ts'
import { connectorTo } from './fleet/fleet-mqtt.ts'
import { startFleet, type Fleet } from './fleet/fleet.ts'
import { troubles, type Sensor } from './fleet/sensors.ts'
import { milliseconds } from './format.ts'
import { balance, type Accounts, type Report, type RunFacts } from './report/report.ts'
import type { Stack } from './stack/stack.ts'
import { auditRun } from './watch/audit.ts'
import { createCatchUp } from './watch/catch-up.ts'
import { untilDrained } from './watch/drain.ts'
import { gatherFindings, type Findings } from './watch/findings.ts'
import type { Course, HistoryReader, RunFilter } from './watch/history.ts'
import { connectHistory } from './watch/history-postgres.ts'
import { createObserver, scrapeBefore, type Observer } from './watch/observe.ts'
import { proveSoFar, type Verdict } from './watch/proof.ts'
import type { Metrics } from './watch/scrape.ts'
import type { Recording } from './watch/recorder.ts'
import type { Snapshot } from './watch/snapshot.ts'
import { startWatching, type Watching } from './watch/watching.ts'

export interface RunOptions {
  stack: Stack
  /** Makes the sensors, given the run's own ID. */
  sensors(run: string): readonly Sensor[]
  facts: Pick<RunFacts, 'seed' | 'eventsPerSecond' | 'mode' | 'skippedRows' | 'versions'>
  /** The end is not waited for any more when nothing has moved for so long; default: a minute. */
  patienceMs?: number
  env: NodeJS.ProcessEnv
  clock: Clock
  onSnapshot: (snapshot: Snapshot) => void
  onNote: (text: string) => void
  /** Somebody looks on: it is proven now and then that nothing is missing. */
  proves?: boolean
  /** The device whose certificate is for whoever looks in. */
  visitor?: string
}

/** A fleet at work on a stack, watched and recorded, whose books are balanced at the end. */
export interface Run {
  readonly fleet: Fleet
  readonly saboteur: Saboteur
  readonly recording: Recording
  /** The last look. */
  readonly last: Snapshot | undefined
  /** Ms since the fleet began. */
  elapsedMs(): number
  /** The number of the oldest open letter of those that the demonstration makes on purpose. */
  letterToShow(): Promise<number | undefined>
  /**
   * Stops the sensors, gives back what a fault still holds down, waits for every PUBACK, until the outbox is empty and the cloud has
   * stored everything, and balances the books. Gives up waiting when nothing has moved for `patienceMs`; the books then say what is
   * amiss. If they do not balance, edge and cloud are stopped, and the report says where the missing events are.
   */
  finish(signal: AbortSignal): Promise<{ report: Report; course: Course }>
  /** Stops the sensors and has it proven that nothing is missing so far. Undefined: it could not be told. */
  prove(signal: AbortSignal): Promise<Verdict | undefined>
  close(): Promise<void>
}

const patienceMsDefault = 60_000
const settleMsMax = 3000

/** Begins a run: from the counts before it to a fleet that publishes and somebody who watches. */
export async function startRun(options: RunOptions): Promise<Run> {
  const { stack, clock } = options
  const scope = createScope()
  try {
    const id = randomUUID()
    const sensors = options.sensors(id)
    const history = scope.own(connectHistory(stack.databaseUrl))
    const lettersBefore = await history.deadLetters()
    const filter: RunFilter = {
      deviceIds: sensors.map((sensor) => sensor.deviceId),
      startedAtMs: clock.now(),
      position: await history.position(),
    }
    const before = await scrapeBefore(stack, AbortSignal.timeout(5000))
    const startedAtMs = clock.monotonicMs()
    const elapsedMs = (): number => Math.round(clock.monotonicMs() - startedAtMs)

    const fleet = scope.own(
      startFleet({ sensors, clock, connect: connectorTo(stack.mqtt, stack.pki.devices) }),
    )
    const saboteur = createSaboteur({ stack, clock, startedAtMs })
    saboteur.onChange(options.onNote)
    const seen = { id, history, filter, fleet, saboteur, elapsedMs, scope }
    const parts = { ...seen, sensors, lettersBefore, ...watch(options, seen, before) }
    return new FleetRun(options, parts)
  } catch (error) {
    await scope.close()
    throw error
  }
}

type Watched = Pick<RunParts, 'id' | 'history' | 'filter' | 'fleet' | 'saboteur' | 'elapsedMs' | 'scope'>

/** Begins to look at a run; what it begins ends with the run's scope. */
function watch(
  options: RunOptions,
  seen: Watched,
  before: readonly (Metrics | undefined)[],
): Pick<RunParts, 'observer' | 'watching'> {
  const { stack, clock, env, visitor, proves = false, onNote, onSnapshot } = options
  const { id, history, filter, fleet, saboteur, elapsedMs, scope } = seen
  const over = new AbortController()
  const soFar = (signal: AbortSignal): Promise<Verdict> =>
    proveSoFar(
      {
        run: id,
        book: fleet.book,
        history,
        clock,
        audit: () => auditRun({ stack, env, history, filter }, signal),
      },
      signal,
    )
  const looking = { stack, fleet, history, filter, before, visitor, onNote }
  const observer = createObserver({ ...looking, proveSoFar: soFar })
  const catchUp = createCatchUp({
    prove: () => (proves ? observer.prove(over.signal) : Promise.resolve(undefined)),
    onNote,
  })
  const watching = scope.own(
    startWatching({
      observer,
      saboteur,
      startedAtMs: filter.startedAtMs,
      elapsedMs,
      clock,
      proves,
      onSnapshot: (snapshot) => {
        catchUp.see(snapshot)
        onSnapshot(snapshot)
      },
    }),
  )
  scope.own({ close: () => over.abort() })
  return { observer, watching }
}

interface RunParts {
  id: string
  sensors: readonly Sensor[]
  history: HistoryReader
  /** Before the fleet began. */
  lettersBefore: number
  filter: RunFilter
  fleet: Fleet
  saboteur: Saboteur
  observer: Observer
  watching: Watching
  elapsedMs: () => number
  /** Owns what must be closed. */
  scope: Scope
}

class FleetRun implements Run {
  readonly fleet: Fleet
  readonly saboteur: Saboteur
  readonly recording: Recording
  readonly elapsedMs: () => number
  readonly #options: RunOptions
  readonly #parts: RunParts

  constructor(options: RunOptions, parts: RunParts) {
    this.#options = options
    this.#parts = parts
    this.fleet = parts.fleet
    this.saboteur = parts.saboteur
    this.recording = parts.watching.recording
    this.elapsedMs = parts.elapsedMs
  }

  get last(): Snapshot | undefined {
    return this.#parts.watching.last
  }

  letterToShow(): Promise<number | undefined> {
    return this.#parts.history.letterToShow()
  }

  async finish(signal: AbortSignal): Promise<{ report: Report; course: Course }> {
    const { onNote } = this.#options
    const { history, filter, watching } = this.#parts
    const durationMs = this.elapsedMs()
    this.fleet.stop()
    await this.saboteur.restore(signal)
    const drained = await this.#drained(signal)
    const drainMs = this.elapsedMs() - durationMs
    onNote(
      drained
        ? `everything is stored after ${milliseconds(drainMs)}; auditing`
        : `nothing has moved for ${milliseconds(this.#patienceMs)}, and what is missing is not waited for any more; auditing`,
    )
    await watching.lookAgain(signal)
    const findings = await this.#findings(drained, signal)
    const report = balance(this.#accounts(findings, { durationMs, drainMs }))
    const course = await history.overTime(filter)
    if (report.balanced) return { report, course }
    onNote('the books do not balance; edge and cloud are stopped, and what is missing is looked for')
    await watching.close()
    return { report: await this.#withEvidence(report, findings, signal), course }
  }

  async prove(signal: AbortSignal): Promise<Verdict | undefined> {
    this.fleet.stop()
    const soon = AbortSignal.any([signal, AbortSignal.timeout(settleMsMax)])
    // A gateway that is away acknowledges nothing: what is not acknowledged by then is not asked for.
    await this.fleet.settled(soon).catch(() => undefined)
    return this.#parts.observer.prove(signal)
  }

  close(): Promise<void> {
    return this.#parts.scope.close()
  }

  get #patienceMs(): number {
    return this.#options.patienceMs ?? patienceMsDefault
  }

  #drained(signal: AbortSignal): Promise<boolean> {
    const { history, filter } = this.#parts
    return untilDrained(
      {
        book: this.fleet.book,
        stored: () => history.stored(filter),
        buffered: () => this.last?.buffered,
        patienceMs: this.#patienceMs,
        onWaiting: (what) =>
          this.#options.onNote(
            `waiting for ${what}; given up when nothing moves for ${milliseconds(this.#patienceMs)}`,
          ),
        clock: this.#options.clock,
      },
      signal,
    )
  }

  async #letters(): Promise<number> {
    const { history, lettersBefore } = this.#parts
    return (await history.deadLetters()) - lettersBefore
  }

  #findings(drained: boolean, signal: AbortSignal): Promise<Findings> {
    const { id, history, filter, watching } = this.#parts
    const { stack, env } = this.#options
    return gatherFindings({
      run: id,
      book: this.fleet.book,
      history,
      filter,
      disturbances: watching.disturbances(),
      drained,
      last: this.last,
      letters: () => this.#letters(),
      audit: () => auditRun({ stack, env, history, filter }, signal),
    })
  }

  #accounts(findings: Findings, times: Pick<RunFacts, 'durationMs' | 'drainMs'>): Accounts {
    const { stack, facts } = this.#options
    const { id, sensors, filter } = this.#parts
    const { book, resent } = this.fleet
    const misdeeds = troubles.flatMap((trouble) => {
      const sensor = sensors.find((sensor) => sensor.trouble === trouble)
      return sensor ? [[trouble, book.totals(sensor.deviceId)]] : []
    })
    return {
      run: {
        ...facts,
        id,
        gateway: stack.gateway,
        startedAt: new Date(filter.startedAtMs).toISOString(),
        ...times,
        devices: sensors.length,
      },
      totals: book.totals(),
      misdeeds: Object.fromEntries(misdeeds),
      resent,
      maxBuffered: this.recording.maxBuffered,
      faults: this.saboteur.records(),
      findings,
    }
  }

  async #withEvidence(report: Report, findings: Findings, signal: AbortSignal): Promise<Report> {
    const { stack, env, clock } = this.#options
    const { history } = this.#parts
    const { missing, audit } = findings
    const { evidence, located } = await gatherEvidence({ stack, missing, audit, history, env, clock }, signal)
    const told = { ...report, missingEvents: located.slice(0, report.missingEvents.length), evidence }
    keepEvidence(evidence, { report: told, located })
    return told
  }
}
