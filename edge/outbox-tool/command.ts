import { type Command, Option } from 'commander'
import { systemClock } from '../../src/clock.ts'
import { TidegateError } from '../../src/errors.ts'
import { wholeNumber } from '../../src/settings/command-line.ts'
import { loadEdgeConfig } from '../config.ts'
import { bothLanes, type Lane } from '../outbox/outbox.ts'
import { inPieces } from './export-filter.ts'
import { type Output, outputTo, outputToFile } from './output.ts'
import { renderFinding } from './finding-text.ts'
import { renderLoss, renderReport } from './report.ts'
import { repairQueue } from './repair.ts'
import { openQueue } from './open-queue.ts'
import type { Queue } from './queue.ts'
import { createScratch, type Scratch } from '../store/leveldb/scratch.ts'

interface Place {
  config?: string
  dataDir?: string
}

/** `tidegate outbox inspect|verify|find|export|repair` */
export function registerOutboxCommand(program: Command): void {
  const outbox = program.command('outbox').description('look at, check, export or repair a gateway’s queue')
  registerInspect(outbox)
  registerVerify(outbox)
  registerFind(outbox)
  registerExport(outbox)
  registerRepair(outbox)
}

function registerInspect(outbox: Command): void {
  place(
    outbox.command('inspect').description('depth, bytes, oldest age, lanes and devices; running or stopped'),
  )
    .option('--devices <count>', 'devices to list, those with most bytes first', wholeNumber({ min: 0 }), 10)
    .option('--json', 'as JSON')
    .action(async (options: Place & { devices: number; json?: boolean }) => {
      await onQueue(options, false, async (queue) => {
        // Two looks tell how fast a running gateway drains.
        const before = queue.running ? await lookBefore(queue) : undefined
        const report = await queue.inspect(options.devices)
        const drain = before && drainEstimate(before, report, systemClock.monotonicMs() - before.atMs)
        say(
          options.json
            ? JSON.stringify({ running: queue.running, findings: queue.findings, ...report, ...drain })
            : renderReport(queue, report, drain),
        )
      })
    })
}

function registerVerify(outbox: Command): void {
  place(outbox.command('verify').description('read every record and check it; running or stopped'))
    .option('--json', 'as JSON')
    .action(async (options: Place & { json?: boolean }) => {
      await onQueue(options, true, async (queue) => {
        const { events, faults } = await queue.verify()
        if (options.json) say(JSON.stringify({ events, faults }))
        else if (faults.length === 0)
          say(`${events} events, and all is well: records, counts, deadlines, chain`)
        else
          say(
            [
              `${events} events can be read, and ${faults.length} things are wrong:`,
              ...faults.map((fault) => `  ${fault}`),
              'tidegate outbox repair puts right what can be; so does the gateway when it starts',
            ].join('\n'),
          )
        if (faults.length > 0) process.exitCode = 1
      })
    })
}

function registerFind(outbox: Command): void {
  place(outbox.command('find').description('whether an event is in the queue, was here, or will not come'))
    .argument('<id>', 'its ID, or the one that its device gave a rejected reading')
    .option('--device <id>', 'of this device: says whether its ID is remembered, too')
    .option('--json', 'as JSON')
    .action(async (id: string, options: Place & { device?: string; json?: boolean }) => {
      await onQueue(options, false, async (queue) => {
        const finding = await queue.find({ id, deviceId: options.device })
        say(options.json ? JSON.stringify(finding) : renderFinding(id, options.device, finding))
        if (finding.queued.length === 0 && finding.remembered !== true) process.exitCode = 1
      })
    })
}

interface ExportOptions extends Place {
  output?: string
  device?: string
  type?: string
  lane?: Lane
  from?: number
  to?: number
}

function registerExport(outbox: Command): void {
  place(
    outbox
      .command('export')
      .description('queued events as NDJSON, in order of admission; running or stopped'),
  )
    .option('-o, --output <file>', 'a file instead of the standard output')
    .option('--device <id>', 'of this device only')
    .option('--type <type>', 'of this event type only')
    .addOption(new Option('--lane <lane>', 'of this lane only').choices(bothLanes))
    .option('--from <sequence>', 'from this sequence on', wholeNumber({ max: Number.MAX_SAFE_INTEGER }))
    .option('--to <sequence>', 'up to this sequence', wholeNumber({ max: Number.MAX_SAFE_INTEGER }))
    .action(async (options: ExportOptions) => {
      const { from = 1, to = Infinity } = options
      if (from > to) throw usage(`there is nothing from ${from} to ${to}`, '--from is the smaller of the two')
      const output =
        options.output === undefined ? outputTo(process.stdout) : await outputToFile(options.output)
      await onQueue(options, true, (queue) => exportTo(output, queue, options))
    })
}

async function exportTo(
  output: Output,
  queue: Queue,
  { device, type, lane, from, to }: ExportOptions,
): Promise<void> {
  const filter = { deviceId: device, type, lane, fromSequence: from, toSequence: to }
  for (const finding of queue.findings) warn(finding)
  let leftOut = 0
  await output(
    inPieces(queue.export(filter), (one) => {
      if ('text' in one) return one.text
      leftOut += 1
      warn(`left out: ${one.damaged}`)
      return undefined
    }),
  )
  if (leftOut > 0) warn(`${leftOut} damaged ${leftOut === 1 ? 'record was' : 'records were'} left out`)
  if (leftOut > 0 || queue.findings.length > 0) process.exitCode = 1
}

function registerRepair(outbox: Command): void {
  place(
    outbox.command('repair').description('repair a stopped gateway’s queue, and count exactly what is lost'),
    'the gateway’s data folder',
  )
    .option('--gateway <name>', 'whose queue it is, if --config does not say')
    .option('--no-backup', 'without a copy of the folder beforehand')
    .action(async (options: Place & { gateway?: string; backup: boolean }) => {
      const gateway =
        options.gateway ??
        (options.config === undefined ? undefined : loadEdgeConfig(options.config, process.env).gateway)
      if (gateway === undefined)
        throw usage('repair must know whose queue it is', 'add --config edge.yaml or --gateway NAME')
      const { needed, backup, findings, queued, ...loss } = await repairQueue({
        dataDir: dataDirOf(options),
        gateway,
        userId: process.getuid?.(),
        backup: options.backup,
        clock: systemClock,
        random: Math.random,
        scratch: untilExit(process),
      })
      if (!needed) return say(`${queued} events are queued, and nothing is wrong: nothing was done`)
      if (backup !== undefined) say(`a copy of the folder as it was lies in ${backup}`)
      for (const { kind, detail } of findings) say(`${kind}: ${detail}`)
      say(`${queued} ${queued === 1 ? 'event is' : 'events are'} queued; ${renderLoss(loss)}`)
    })
}

function place(
  command: Command,
  folders = 'the gateway’s data folder, or a store in it that was set aside',
): Command {
  return command
    .option('-c, --config <file>', 'the gateway’s YAML configuration')
    .option('-d, --data-dir <folder>', folders)
}

function dataDirOf(options: Place): string {
  if (options.dataDir !== undefined) return options.dataDir
  if (options.config !== undefined) return loadEdgeConfig(options.config, process.env).dataDir
  throw usage('which gateway?', 'name its configuration (--config) or its data folder (--data-dir)')
}

async function onQueue(
  options: Place,
  thorough: boolean,
  work: (queue: Queue) => Promise<void>,
): Promise<void> {
  const queue = await openQueue({
    dataDir: dataDirOf(options),
    clock: systemClock,
    scratch: untilExit(process),
    thorough,
  })
  try {
    await work(queue)
  } finally {
    await queue.close()
  }
}

/** What is in it goes with the process, also on Ctrl-C and when nobody reads any more. */
function untilExit(process: NodeJS.Process): Scratch {
  const scratch = createScratch()
  process.once('exit', () => scratch.removeAll())
  for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }))
    process.once(signal, () => process.exit(128 + number))
  return scratch
}

const betweenLooksMs = 1000

async function lookBefore(queue: Queue): Promise<Depth & { atMs: number }> {
  const { lanes } = await queue.inspect(0)
  const atMs = systemClock.monotonicMs()
  await systemClock.sleep(betweenLooksMs)
  return { lanes, atMs }
}

function drainEstimate(
  before: Depth,
  after: Depth,
  tookMs: number,
): { eventsPerSecond: number; drainedInS?: number } {
  const depth = ({ lanes }: Depth): number => lanes.high.events + lanes.normal.events
  const eventsPerSecond = ((depth(before) - depth(after)) / tookMs) * 1000
  return eventsPerSecond > 0
    ? { eventsPerSecond, drainedInS: depth(after) / eventsPerSecond }
    : { eventsPerSecond }
}

interface Depth {
  lanes: Record<Lane, { events: number }>
}

function usage(message: string, hint: string): TidegateError {
  return new TidegateError('OPTIONS_INVALID', { message, retryable: false, hint })
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

function warn(text: string): void {
  process.stderr.write(`tidegate: ${text}\n`)
}
