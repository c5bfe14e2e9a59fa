import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import { startStack, type Stack } from '../../dev/stack/stack.ts'
import { createScope, type Scope } from '../../src/lifecycle.ts'
import { positiveNumber, programOf, wholeNumber } from '../../src/settings/command-line.ts'
import { machineText } from '../page/text.ts'
import { table } from '../page/terminal.ts'
import { thisMachine } from '../run/machine.ts'
import { closeOnSignal } from '../run/signal.ts'
import { type Fleet, fleetOf } from '../subjects/device.ts'
import { flood } from '../subjects/flood.ts'
import { pace } from '../subjects/pace.ts'
import { eventType } from '../subjects/packets.ts'
import { growthOf, type Reading } from './growth.ts'
import { readingOf } from './sampler.ts'

/**
 * All of Tidegate for a long time at half of what it can do, with an outage of the uplink in the middle third. It ends with code 1 if an event that was
 * acknowledged is not in the database, or is there twice.
 */
const { minutes, rate } = programOf('npm run soak --', 'Tidegate for a long time at half of what it can do.')
  .option('--minutes <count>', 'how long', positiveNumber({ max: 100_000 }), 30)
  .option(
    '--rate <count>',
    'events a second (default: half of what comes through in the first seconds)',
    wholeNumber(),
  )
  .parse()
  .opts<{ minutes: number; rate?: number }>()

const sampleEveryMs = 5_000
const probeEvents = 20_000
const say = (line: string): void => console.log(line)

const dir = mkdtempSync(join(process.env['TIDEGATE_BENCH_DIR'] ?? tmpdir(), 'tidegate-soak-'))
// PostgreSQL runs as a user of its own, who must come through.
chmodSync(dir, 0o711)
const scope = createScope()
closeOnSignal(scope, dir)
try {
  process.exitCode = (await soak(scope)) ? 0 : 1
} finally {
  await scope.close()
  rmSync(dir, { recursive: true, force: true })
}
process.exit()

/** Whether every acknowledged event came, and came once. */
async function soak(scope: Scope): Promise<boolean> {
  say(machineText(thisMachine()))
  // Servers that somebody lent hold what others left there.
  const { TIDEGATE_AMQP_URL: _amqp, TIDEGATE_PG_URL: _pg, ...env } = process.env
  const stack = scope.own(
    await startStack({
      dir,
      devices: Array.from({ length: 20 }, (_, index) => `soak-${index}`),
      edgeConfig: { log: { level: 'warn' }, schemas: { folder: undefined } },
      cloudConfig: { log: { level: 'warn' }, schemas: { folder: undefined } },
      env,
      say,
    }),
  )
  const database = new Client(stack.databaseUrl)
  await database.connect()
  scope.own({ close: () => database.end() })
  const fleet = fleetOf(stack.pki)
  const probed = await topRate(stack, fleet, database)
  const perSecond = rate ?? Math.max(1, Math.round(probed.perSecond / 2))
  say(
    `${Math.round(probed.perSecond)} events/s came through at first; ${perSecond} events/s for ${minutes} min`,
  )
  const { acknowledged, readings } = await run(stack, fleet, perSecond)
  say('waiting for what is still on its way')
  await untilStored(database, probed.events + acknowledged)
  for (const [name, list] of readings) tellGrowth(name, list)
  return tellEvents(database, probed.events + acknowledged)
}

/** Events a second from the device to a committed row. */
async function topRate(
  { mqtt }: Stack,
  fleet: Fleet,
  database: Client,
): Promise<{ perSecond: number; events: number }> {
  const startedMs = performance.now()
  const { messages } = await flood(mqtt.port, fleet, { messages: probeEvents })
  await untilStored(database, messages)
  return { perSecond: (messages / (performance.now() - startedMs)) * 1000, events: messages }
}

async function run(
  stack: Stack,
  fleet: Fleet,
  perSecond: number,
): Promise<{ acknowledged: number; readings: Map<string, Reading[]> }> {
  const { link, edge, edgeOps, clouds, cloudOps } = stack
  const programs = [
    { side: 'edge' as const, program: edge, opsUrl: edgeOps },
    { side: 'cloud' as const, program: clouds[0], opsUrl: cloudOps[0] ?? '' },
  ]
  const readings = new Map<string, Reading[]>(programs.map(({ side }) => [side, []]))
  const startedMs = performance.now()
  const forMs = minutes * 60_000
  const stop = new AbortController()
  let acknowledged = 0
  const pacing = pace(stack.mqtt.port, fleet, {
    perSecond,
    signal: stop.signal,
    onAcknowledged: () => (acknowledged += 1),
  })
  for (let atMs = 0; atMs < forMs; atMs = performance.now() - startedMs) {
    const down = atMs >= forMs / 3 && atMs < (forMs * 2) / 3
    if (down !== (link?.mode.kind === 'down')) link?.set({ kind: down ? 'down' : 'up' })
    for (const { side, program, opsUrl } of programs) {
      const reading = await readingOf({ pid: program?.pid ?? 0, opsUrl, side }, atMs)
      readings.get(side)?.push(reading)
      say(`${lineOf(side, reading)}${down ? ', uplink down' : ''}`)
    }
    await Promise.race([delay(Math.min(sampleEveryMs, Math.max(1, forMs - atMs))), pacing])
  }
  stop.abort()
  await pacing
  return { acknowledged, readings }
}

function lineOf(
  side: string,
  { atMs, memoryMiB, handles, eventLoopP99Ms, diskBytes, queued }: Reading,
): string {
  return [
    `${Math.round(atMs / 1000)} s ${side}: ${Math.round(memoryMiB)} MiB`,
    `${handles} handles`,
    `event loop p99 ${eventLoopP99Ms === undefined ? '–' : eventLoopP99Ms.toFixed(1)} ms`,
    `${Math.round(diskBytes / 2 ** 20)} MiB written`,
    ...(queued === undefined ? [] : [`${queued} queued`]),
  ].join(', ')
}

function tellGrowth(name: string, readings: readonly Reading[]): void {
  const { memoryMiBPerHour, handlesPerHour } = growthOf(readings)
  const most = Math.max(...readings.map(({ memoryMiB }) => memoryMiB))
  say(
    `${name}: memory grew by ${memoryMiBPerHour.toFixed(1)} MiB/h over the last two thirds (at most ${Math.round(most)} MiB), handles by ${handlesPerHour.toFixed(1)}/h`,
  )
}

/** Until so many are stored, or none has come for a minute. */
async function untilStored(database: Client, events: number): Promise<void> {
  let [count, sinceMs] = [-1, performance.now()]
  while (count < events && performance.now() - sinceMs < 60_000) {
    await delay(100)
    const { rows } = await database.query<{ stored: string }>(
      'select coalesce(max(position), 0) as stored from tidegate.events',
    )
    const now = Number(rows[0]?.stored)
    if (now > count) sinceMs = performance.now()
    count = now
  }
}

/** Everything in the database is of this soak: counts tell what is missing. */
async function tellEvents(database: Client, acknowledged: number): Promise<boolean> {
  const { rows } = await database.query<{ rows: string; events: string }>(
    'select count(*) as rows, count(distinct (source, id)) as events from tidegate.events where type = $1',
    [eventType],
  )
  const [stored, events] = [Number(rows[0]?.rows), Number(rows[0]?.events)]
  say(
    table([
      ['acknowledged', 'stored', 'lost', 'repeated'],
      [acknowledged, stored, acknowledged - events, stored - events].map(String),
    ]).join('\n'),
  )
  return acknowledged === events && stored === events
}
