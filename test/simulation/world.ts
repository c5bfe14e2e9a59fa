import type { Logger } from '../../src/log.ts'
import { SimulatedBroker } from './parts/broker.ts'
import { chance } from './plan/chance.ts'
import { checkAudit } from './checks/check-audit.ts'
import { checkProjection, checkReader } from './checks/check-reader.ts'
import { checkAll, checkBounds } from './checks/checks.ts'
import type { World } from './checks/world-view.ts'
import { Cloud, declareAll } from './parts/cloud.ts'
import { SimulatedDatabase } from './parts/database.ts'
import { Device } from './parts/devices.ts'
import { heal, inflict } from './parts/faults.ts'
import { Gateway } from './parts/gateway.ts'
import { Intruder } from './parts/intruder.ts'
import { Operator } from './parts/operator.ts'
import { Journal, type Violation } from './parts/journal.ts'
import { tracingLog } from './parts/tracing-log.ts'
import { activeMs, type Plan } from './plan/plan.ts'
import { ProjectionAtWork } from './parts/projection.ts'
import { HistoryReaderAtWork } from './parts/reader.ts'
import { Scheduler } from './parts/scheduler.ts'
import { Truth } from './parts/truth.ts'
import { Uplink } from './parts/uplink.ts'

/** Longest that may pass after everything has healed until nothing is left to do. */
const healingMsMax = 3_600_000

export interface RunResult {
  violations: Violation[]
  counts: Map<string, number>
  lines: string[]
  /** Virtual time, ms. */
  simulatedMs: number
  events: number
}

/** Plays a plan from beginning to end, and checks every guarantee. */
export async function play(plan: Plan): Promise<RunResult> {
  const scheduler = new Scheduler()
  const journal = new Journal(scheduler)
  const world = build(plan, scheduler, journal)
  const unhandled = (reason: unknown): void => journal.violate('error', `unhandled: ${String(reason)}`)
  process.on('unhandledRejection', unhandled)
  try {
    await act(world)
    if (journal.violations.length === 0) {
      checkAll(world)
      checkReader(world)
      checkProjection(world)
      await checkAudit(world)
    }
  } finally {
    process.off('unhandledRejection', unhandled)
  }
  const { violations, counts, lines } = journal
  return { violations, counts, lines, simulatedMs: scheduler.nowMs, events: scheduler.events }
}

function build(plan: Plan, scheduler: Scheduler, journal: Journal): World {
  const { seed, settings } = plan
  const stream = (part: string): ReturnType<typeof chance> => chance(seed, part)
  const log: Logger = tracingLog(journal)
  const truth = new Truth({ scheduler, journal, settings })
  const broker = new SimulatedBroker({ scheduler, journal })
  declareAll(broker, settings)
  const uplink = new Uplink({ scheduler, journal, random: stream('uplink'), broker, truth, settings })
  const gateway = new Gateway({ scheduler, journal, random: stream('gateway'), truth, settings, uplink, log })
  const database = new SimulatedDatabase({
    scheduler,
    journal,
    random: stream('database'),
    latencyMsMax: settings.latencyMsMax,
    idleMsMax: settings.handlerTimeoutMs + 2000,
  })
  const operator = new Operator({ scheduler, journal, broker, database, settings })
  const clouds = Array.from({ length: settings.cloudInstances }, (_, index) => {
    const name = `cloud-${index}`
    const random = stream(name)
    return new Cloud(name, { scheduler, journal, random, broker, database, truth, settings, operator, log })
  })
  const devices = settings.devices.map(
    (name) => new Device(name, { scheduler, journal, random: stream(name), gateway, settings }),
  )
  const intruder = new Intruder({ broker, gateway, journal, settings })
  const reader = new HistoryReaderAtWork({ scheduler, random: stream('reader'), database })
  const derived = { scheduler, random: stream('projection'), database, activeMs }
  const projection = new ProjectionAtWork(derived)
  const random = stream('faults')
  return {
    plan,
    scheduler,
    journal,
    truth,
    broker,
    uplink,
    gateway,
    database,
    clouds,
    devices,
    intruder,
    operator,
    reader,
    projection,
    random,
  }
}

async function act(world: World): Promise<void> {
  const { plan, scheduler, journal, gateway, devices } = world
  const byName = new Map(devices.map((device) => [device.name, device]))
  gateway.start()
  world.reader.start()
  world.projection.start()
  for (const send of plan.sends) scheduler.after(send.atMs, () => byName.get(send.device)?.send(send))
  for (const fault of plan.faults) scheduler.after(fault.atMs, () => inflict(fault, world))
  const watch = (): void => {
    checkBounds(world)
    scheduler.after(1000, watch)
  }
  watch()
  const failed = (): boolean => journal.violations.length > 0
  await scheduler.runUntil(failed, activeMs)
  if (failed()) return
  heal(world)
  journal.tell('FAULT', 'everything has healed')
  await settle(world)
  if (failed() || !plan.settings.workplace) return
  // What could not be done can be done now: nothing that is open needs to stay so.
  world.operator.replay()
  await settle(world)
}

/** Until nothing is left to do. */
async function settle(world: World): Promise<void> {
  const { scheduler, journal } = world
  const failed = (): boolean => journal.violations.length > 0
  let looksAt = 0
  // What has landed on the disk is known to the program only once a disk that was slow has said so.
  let quietLooks = 0
  const quiet = await scheduler.runUntil(() => {
    if (failed()) return true
    if (scheduler.nowMs < looksAt) return false
    looksAt = scheduler.nowMs + 1000
    quietLooks = isQuiet(world) ? quietLooks + 1 : 0
    return quietLooks === 3
  }, healingMsMax)
  if (!quiet) journal.violate('live', `still at work an hour after everything healed: ${leftOver(world)}`)
}

function isQuiet({ gateway, broker, clouds, devices, database, reader, projection }: World): boolean {
  const outbox = gateway.outbox?.stats()
  return (
    gateway.up &&
    gateway.wall.offsetMs > -1e12 &&
    outbox?.refusing !== 'store-failed' &&
    // No device waits for the answer to a publish of QoS 0.
    outbox?.waiting === 0 &&
    // The audit believes no report of a loss before it is signed.
    (outbox.unsigned?.events ?? 0) === 0 &&
    devices.every((device) => device.quiet) &&
    stored(gateway).length === 0 &&
    clouds.every((cloud) => cloud.quiet) &&
    database.parkedDevices.size === 0 &&
    reader.quiet &&
    projection.quiet &&
    broker.working().length === 0 &&
    [...database.replays.values()].every(({ isOver }) => isOver)
  )
}

/** Events of both lanes, and what is to be told of others. */
function stored({ disk: { disk } }: World['gateway']): string[] {
  return ['e!h!', 'e!n!', 'u!'].flatMap((prefix) => disk.keysStartingWith(prefix))
}

function leftOver({ gateway, broker, database, clouds, devices }: World): string {
  const outbox = gateway.up ? JSON.stringify(gateway.outbox?.stats()) : 'the edge is down'
  const waiting = devices.filter((device) => !device.quiet).map((device) => device.name)
  const busy = clouds.filter((cloud) => !cloud.quiet).map((cloud) => cloud.name)
  return [
    `outbox ${outbox}`,
    `on the disk ${stored(gateway).join(' ') || '-'}`,
    `devices ${waiting.join(' ') || '-'}`,
    `clouds ${busy.join(' ') || '-'}`,
    `parked ${[...database.parkedDevices.keys()].join(', ') || '-'}`,
    `queues ${broker.working().join(' ') || '-'}`,
    `replays ${[...database.replays.values()].flatMap(({ isOver, replay }) => (isOver ? [] : [replay])).join(' ') || '-'}`,
  ].join('; ')
}
