import { InvalidArgumentError, Option, type Command } from 'commander'
import { durationOf, positiveNumber, wholeNumber } from '../src/settings/command-line.ts'
import { conduct } from './conduct.ts'
import { withConsumer, withDemoConsumer } from './consumer.ts'
import { killTargets, planFaults, type KillTarget } from './faults/plan.ts'
import { seededRandom } from './fleet/random.ts'
import { readReplay, replaySensors, type Replay } from './fleet/replay.ts'
import { runServersOnly } from './servers-only.ts'
import {
  ordinaryIds,
  ordinarySensors,
  troubleId,
  troubles,
  troubleSensors,
  type Sensor,
} from './fleet/sensors.ts'

/** Of a resilience run that is not told otherwise. */
const usualOutageMs = 20_000
/** How often each troublemaker does its misdeed. */
const misdeedEveryMs = 2500
/** Replayed readings keep their own times, and those may be old. */
const replayTimeAgeMax = '36500d'

interface CommonOptions {
  dir: string
  seed: number
  clouds: number
  trouble: boolean
  patience: number
}

interface DevOptions extends CommonOptions {
  sensors: number
  rate: number
  for?: number
  outage: number
  report?: string
  replay?: string
  speed: number
  consumer?: string
  serversOnly?: boolean
}

interface SimulateOptions extends CommonOptions {
  devices: number
  rate: number
  for?: number
  outage?: number
  kill?: KillTarget[]
  report: string
}

/** Adds `tidegate dev`, which is behind `npm start`. Failures are thrown, for the CLI to show. */
export function registerDevCommand(program: Command): void {
  common(
    program
      .command('dev')
      .description('run the whole of Tidegate on this machine: servers, edge, cloud and a fleet of sensors')
      .option('--sensors <count>', 'simulated sensors beside the six that misbehave', wholeNumber(), 12)
      .option('--rate <number>', 'events per second of the whole fleet', positiveNumber(), 50)
      .option('--for <duration>', 'stop after this long and balance the books (30s, 5m)', durationOf())
      .addOption(
        new Option('--outage <duration>', 'take the uplink down in the middle for this long')
          .argParser(durationOf({ min: '0s' }))
          .default(0, 'none'),
      )
      .option('--report <file>', 'write the report as JSON, and a page beside it as HTML')
      .option('--replay <folder>', 'publish CSV series (timestamp,value), one device per file')
      .option('--speed <factor>', 'how much faster a replay is than its series', positiveNumber(), 3600)
      .option(
        '--consumer <file>',
        'a consumer of yours, which the cloud runs instead of the demonstration’s own',
      )
      .option('--servers-only', 'only the servers of --dir on what they hold, to look at what a run left'),
    '.tidegate/dev',
  ).action(async (options: DevOptions) => {
    process.exitCode = options.serversOnly
      ? await runServersOnly(options.dir, process)
      : await runDev(options)
  })
}

/** Adds `tidegate simulate`. Failures are thrown, for the CLI to show. */
export function registerSimulateCommand(program: Command): void {
  common(
    program
      .command('simulate')
      .description('a resilience run on real processes: outage, kill -9 and load, balanced at the end')
      .option('--devices <count>', 'simulated devices', wholeNumber(), 50)
      .option('--rate <number>', 'events per second of each device', positiveNumber(), 5)
      .option('--for <duration>', 'how long they publish (default: outage and kills decide)', durationOf())
      .addOption(
        new Option(
          '--outage <duration>',
          'take the uplink down in the middle for this long; 0s: not at all (default: 20s, or a third of a shorter run)',
        ).argParser(durationOf({ min: '0s' })),
      )
      .option('--kill <targets>', `kill -9 each of these once: ${killTargets.join(',')}`, targets)
      .option('--report <file>', 'the report as JSON; a page with plots is written beside it', 'report.json'),
    '.tidegate/simulate',
  ).action(async (options: SimulateOptions) => {
    process.exitCode = await runResilience(options)
  })
}

function common(command: Command, dir: string): Command {
  return command
    .option('--seed <number>', 'decides readings and the moments of faults', wholeNumber(), 1)
    .option('--clouds <count>', 'cloud processes side by side', wholeNumber(), 1)
    .addOption(
      new Option('--patience <duration>', 'wait no longer for the end than this while nothing moves')
        .argParser(durationOf())
        .default(60_000, '1m'),
    )
    .option('--no-trouble', 'without the sensors that misbehave on purpose')
    .option('--dir <folder>', 'where servers, certificates, outbox and logs are kept', dir)
}

async function runDev(options: DevOptions): Promise<number> {
  const replay = options.replay === undefined ? undefined : readReplay(options.replay)
  for (const fault of replay?.faults.slice(0, 20) ?? []) warn(`replay: ${fault}`)
  if (replay && replay.faults.length > 20) warn(`replay: and ${replay.faults.length - 20} rows more`)
  const replayMs = replay && replay.spanMs / options.speed
  const lengthMs = options.for ?? replayMs
  const random = seededRandom(options.seed, 'faults')
  const { env } = process
  const { consumer } = options
  const demo = consumer === undefined && !replay && options.trouble
  const cloudConfig = consumer === undefined ? demo && withDemoConsumer() : await withConsumer(consumer, env)
  const faults = planFaults({ forMs: lengthMs, outageMs: options.outage, kills: [], random, env })
  const fleet = replay
    ? replayFleet(replay, options.speed)
    : demoFleet(options, options.sensors, options.rate)
  return conduct(
    {
      ...fleet,
      ...(cloudConfig && { cloudConfig }),
      dir: options.dir,
      title: replay
        ? `replaying ${replay.series.length} series, ${options.speed} times as fast`
        : 'sensors → gateway → RabbitMQ → PostgreSQL',
      facts: {
        seed: options.seed,
        eventsPerSecond: replay ? 0 : options.rate,
        mode: replay ? 'replay' : 'demo',
        skippedRows: replay?.faults.length ?? 0,
      },
      endsByItself: replay !== undefined,
      forMs: options.for,
      faults,
      reportFile: options.report,
      patienceMs: options.patience,
      clouds: options.clouds,
      walk: demo,
    },
    process,
  )
}

function runResilience(options: SimulateOptions): Promise<number> {
  const { seed, kill: kills = [], devices } = options
  const outage = options.outage ?? Math.min(usualOutageMs, Math.round((options.for ?? Infinity) / 3))
  const eventsPerSecond = devices * options.rate
  // Room for the outage with something before and after it, and for each kill to be got over.
  const forMs = options.for ?? Math.max(30_000, 2 * outage, 20_000 * kills.length + outage)
  const random = seededRandom(seed, 'faults')
  const { env } = process
  return conduct(
    {
      ...demoFleet(options, devices, eventsPerSecond),
      dir: options.dir,
      title: `${devices} devices, ${eventsPerSecond} events/s, seed ${seed}`,
      facts: { seed, eventsPerSecond, mode: 'simulate', skippedRows: 0 },
      endsByItself: false,
      forMs,
      faults: planFaults({ forMs, outageMs: outage, kills, random, env }),
      reportFile: options.report,
      patienceMs: options.patience,
      clouds: options.clouds,
      walk: false,
    },
    process,
  )
}

interface FleetPlan {
  deviceIds: string[]
  sensors(run: string): Sensor[]
  edgeConfig?: { events: { timeAgeMax: string } }
}

function demoFleet(options: CommonOptions, count: number, eventsPerSecond: number): FleetPlan {
  const { seed, trouble } = options
  return {
    deviceIds: [...ordinaryIds(count), ...(trouble ? troubles.map(troubleId) : [])],
    sensors: (run) => [
      ...ordinarySensors({ run, seed, count, eventsPerSecond }),
      ...(trouble ? troubleSensors({ run, seed, periodMs: misdeedEveryMs }) : []),
    ],
  }
}

function replayFleet(replay: Replay, speed: number): FleetPlan {
  return {
    deviceIds: replay.series.map(({ deviceId }) => deviceId),
    sensors: (run) => replaySensors(replay, { run, speed }),
    edgeConfig: { events: { timeAgeMax: replayTimeAgeMax } },
  }
}

function warn(line: string): void {
  process.stderr.write(`${line}\n`)
}

function targets(text: string): KillTarget[] {
  return text.split(',').map((name) => {
    const target = killTargets.find((target) => target === name.trim())
    if (!target) throw new InvalidArgumentError(`Targets are ${killTargets.join(', ')}.`)
    return target
  })
}
