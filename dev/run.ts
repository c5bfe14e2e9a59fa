import { randomUUID } from 'node:crypto'
import type { Clock } from '../src/clock.ts'
import { isAbort } from '../src/errors.ts'
import { createScope } from '../src/lifecycle.ts'
import { audit } from './watch/audit.ts'
import { countDeadLetters } from './watch/dead-letters-rabbit.ts'
import { createDisturbances } from './watch/disturbances.ts'
import { gatherEvidence } from './evidence/evidence.ts'
import { createSaboteur, type Saboteur } from './faults/saboteur.ts'
import { connectDevice } from './fleet/fleet-mqtt.ts'
import { startFleet, type Fleet } from './fleet/fleet.ts'
import { readHistory, type Course, type HistoryReader, type RunFilter } from './watch/history-postgres.ts'
import { createObserver, scrapeBefore } from './watch/observe.ts'
import { eventId } from './fleet/random.ts'
import { createRecorder, type Recording } from './watch/recorder.ts'
import { balance, type Findings, type Report, type RunFacts } from './report/report.ts'
import { troubles, type Sensor } from './fleet/sensors.ts'
import type { Snapshot } from './watch/snapshot.ts'
import { groups } from './stack/config.ts'
import type { Stack } from './stack/stack.ts'
import { milliseconds } from './screen/view.ts'

export interface SessionOptions {
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
}

/** A fleet at work on a stack, watched and recorded, whose books are balanced at the end. */
export interface Session {
  readonly fleet: Fleet
  readonly saboteur: Saboteur
  readonly recording: Recording
  /** The last look. */
  readonly last: Snapshot | undefined
  /** Ms since the fleet began. */
  elapsedMs(): number
  /**
   * Stops the sensors, gives back what a fault still holds down, waits for every PUBACK, until the outbox is empty and the cloud has stored everything, and
   * balances the books. Gives up waiting when nothing has moved for `patienceMs`; the books then say what is amiss. If they do not
   * balance, edge and cloud are stopped, and the report says where the missing events are.
   */
  finish(signal: AbortSignal): Promise<{ report: Report; course: Course }>
  close(): Promise<void>
}

const lookEveryMs = 250
const askEveryMs = 1000
const patienceMsDefault = 60_000
const identitiesAtOnce = 20_000
/** Of those that are missing, how many are looked for. */
const searchedMax = 10_000

export async function startSession(options: SessionOptions): Promise<Session> {
  const { stack, clock, facts, env, patienceMs = patienceMsDefault } = options
  const scope = createScope()
  const run = randomUUID()
  const sensors = options.sensors(run)
  const files = new Map(stack.pki.devices.map((device) => [device.commonName, device]))
  const history = scope.own(readHistory(stack.databaseUrl))
  const lettersBefore = await countDeadLetters(stack.amqpUrl, groups, clock)
  const filter: RunFilter = {
    deviceIds: sensors.map((sensor) => sensor.deviceId),
    startedAtMs: clock.now(),
    position: await history.position(),
  }
  const before = await scrapeBefore(stack, AbortSignal.timeout(5000))
  const startedAtMs = clock.monotonicMs()
  const elapsedMs = (): number => Math.round(clock.monotonicMs() - startedAtMs)

  const fleet = scope.own(
    startFleet({
      sensors,
      clock,
      connect(deviceId) {
        const pair = files.get(deviceId)
        if (!pair) throw new Error(`no certificate was issued for ${deviceId}`)
        return connectDevice(stack.mqtt, { deviceId, certFile: pair.certFile, keyFile: pair.keyFile })
      },
    }),
  )
  const saboteur = createSaboteur(stack, clock, startedAtMs)
  saboteur.onChange(options.onNote)
  const disturbances = createDisturbances(filter.startedAtMs)
  const observer = createObserver({ stack, fleet, history, filter, before })
  const recorder = createRecorder()
  let last: Snapshot | undefined

  const watching = new AbortController()
  const watchers = Promise.all([
    every(lookEveryMs, async () => {
      last = await observer.look(elapsedMs(), watching.signal)
      disturbances.see(saboteur.records(), last)
      recorder.add(last)
      options.onSnapshot(last)
    }),
    // The database may be away, and then there is no answer; the next one tells everything.
    every(askEveryMs, () => observer.ask(disturbances.spans()).catch(() => undefined)),
  ])
  watchers.catch(() => undefined)
  scope.own({
    async close() {
      watching.abort()
      await watchers
    },
  })

  async function every(periodMs: number, task: () => Promise<void>): Promise<void> {
    try {
      for (;;) {
        await task()
        await clock.sleep(periodMs, watching.signal)
      }
    } catch (error) {
      if (!isAbort(error)) throw error
    }
  }

  /** Resolves when `done`, or when what it counts has not moved for `patienceMs`. */
  async function untilStill(
    done: () => Promise<boolean> | boolean,
    count: () => number,
    signal: AbortSignal,
  ): Promise<void> {
    let movedAtMs = clock.monotonicMs()
    let before = count()
    while (!(await done())) {
      await clock.sleep(100, signal)
      const now = count()
      if (now !== before) movedAtMs = clock.monotonicMs()
      if (clock.monotonicMs() - movedAtMs > patienceMs) return
      before = now
    }
  }

  async function drain(signal: AbortSignal): Promise<void> {
    const { book } = fleet
    await untilStill(
      () => book.totals().unacknowledged === 0,
      () => book.totals().unacknowledged,
      signal,
    )
    const { acknowledged, byFate } = book.totals()
    let stored = 0
    let written = 0
    await untilStill(
      async () => {
        stored = await history.stored(filter).catch(() => stored)
        if (last?.buffered !== 0 || stored < acknowledged) return false
        written = await letters().catch(() => written)
        return written >= byFate.rejected.acknowledged
      },
      () => stored - (last?.buffered ?? 0),
      signal,
    )
  }

  async function letters(): Promise<number> {
    return (await countDeadLetters(stack.amqpUrl, groups, clock)) - lettersBefore
  }

  async function find(signal: AbortSignal): Promise<Findings> {
    const { devices, byType } = await history.rows(filter)
    return {
      devices,
      byType,
      storedTwice: await history.storedTwice(filter),
      missing: await findMissing(fleet, history, run),
      latency: await history.latency(filter, disturbances.spans()),
      deadLetters: await letters(),
      duplicates: last?.duplicates ?? 0,
      leftInOutbox: last?.buffered ?? 0,
      audit: await audit(
        {
          cli: stack.cli,
          configFile: stack.configFiles.clouds[0] ?? '',
          gateway: stack.gateway,
          epochs: await history.epochs(filter),
          env,
        },
        signal,
      ),
    }
  }

  return {
    fleet,
    saboteur,
    recording: recorder,
    get last() {
      return last
    },
    elapsedMs,
    async finish(signal) {
      const durationMs = elapsedMs()
      fleet.stop()
      await saboteur.restore(signal)
      await drain(signal)
      const drainMs = elapsedMs() - durationMs
      options.onNote(`everything that will be stored is stored after ${milliseconds(drainMs)}; auditing`)
      // One more look, so that the counts are those of the end.
      last = await observer.look(elapsedMs(), signal)
      const findings = await find(signal)
      const report = balance({
        run: {
          ...facts,
          id: run,
          gateway: stack.gateway,
          startedAt: new Date(filter.startedAtMs).toISOString(),
          durationMs,
          drainMs,
          devices: sensors.length,
        },
        totals: fleet.book.totals(),
        misdeeds: Object.fromEntries(
          troubles.flatMap((trouble) => {
            const sensor = sensors.find((sensor) => sensor.trouble === trouble)
            return sensor ? [[trouble, fleet.book.totals(sensor.deviceId)]] : []
          }),
        ),
        resent: fleet.resent,
        maxBuffered: recorder.maxBuffered,
        faults: saboteur.records(),
        findings,
      })
      const course = await history.overTime(filter)
      if (report.balanced) return { report, course }
      options.onNote(
        'the books do not balance; edge and cloud are stopped, and what is missing is looked for',
      )
      watching.abort()
      await watchers
      const absent: HistoryReader['absent'] = (identities) => history.absent(identities)
      const missing = findings.missing.first
      return { report: await gatherEvidence({ stack, report, missing, absent, env, clock }, signal), course }
    },
    close: () => scope.close(),
  }
}

async function findMissing(fleet: Fleet, history: HistoryReader, run: string): Promise<Findings['missing']> {
  const missing: Findings['missing'] = { count: 0, first: [] }
  let some: { source: string; id: string }[] = []
  const look = async (): Promise<void> => {
    const absent = await history.absent(some)
    some = []
    missing.count += absent.length
    missing.first.push(...absent.slice(0, searchedMax - missing.first.length))
  }
  for (const { deviceId, n } of fleet.book.acknowledgedEvents()) {
    some.push({ source: `/devices/${deviceId}`, id: eventId(run, deviceId, n) })
    if (some.length === identitiesAtOnce) await look()
  }
  await look()
  return missing
}
