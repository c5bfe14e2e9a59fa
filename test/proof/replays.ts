import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createDatabase } from '../../cloud/database/database-postgres.ts'
import { type Client, createClient } from '../../cloud/tool/client.ts'
import { obtainPostgres, obtainRabbit } from '../../dev/servers/obtain.ts'
import { systemClock } from '../../src/clock.ts'
import { programOf, wholeNumber } from '../../src/settings/command-line.ts'
import {
  effectsModule,
  effectsTable,
  faultsOf,
  type Progress,
  type Query,
  replayAll,
  residentMiB,
  stop,
  watch,
  writeLetters,
} from './replay-course.ts'

/**
 * Very many dead letters are replayed at a rate, stopped, and resumed; then as many by two operators at once, of two clouds: how fast
 * that is, what memory it takes, and whether each letter was in one replay and had its effect once.
 */
const { letters, rate, rounds } = programOf(
  'node dist/test/proof/replays.js',
  'Replays many dead letters through clouds of its own, with a stop on the way, and by two operators at once.',
)
  .option('--letters <count>', 'how many', wholeNumber(), 100_000)
  .option('--rate <number>', 'letters a second at the most', wholeNumber({ max: 100_000 }), 2_000)
  .option('--rounds <count>', 'lines of progress, about', wholeNumber({ min: 4, max: 1000 }), 20)
  .parse()
  .opts<{ letters: number; rate: number; rounds: number }>()

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const partitions = 16
const tidegate = fileURLToPath(new URL('../../cli/tidegate.js', import.meta.url))
/** Between the first look at which the cloud is warm and the last one. */
const growthMiBMax = 48

interface RunningCloud {
  child: ChildProcess
  client: Client
  stop(): Promise<void>
}

async function startCloud(
  folder: string,
  name: string,
  urls: { broker: string; database: string },
): Promise<RunningCloud> {
  const socket = join(folder, `${name}.sock`)
  const file = join(folder, `${name}.yaml`)
  const config = {
    broker: { url: urls.broker, insecure: true },
    database: { url: urls.database, insecure: true },
    instance: name,
    partitions,
    consumers: [{ module: join(folder, 'effects.mjs') }],
    gateways: { unvouched: 'accept' },
    sharing: { beat: '500ms', goneAfter: '2s' },
    ops: { port: 0 },
    api: { socket, requestsPerSecond: 1000 },
    log: { level: 'warn' },
  }
  writeFileSync(file, JSON.stringify(config))
  const child = spawn(process.execPath, [tidegate, 'cloud', '--config', file], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const client = createClient({ kind: 'socket', path: socket, headers: {} })
  for (let tries = 1; ; tries++) {
    try {
      await client.get('/v1/groups')
      break
    } catch (error) {
      if (tries === 300 || child.exitCode !== null) throw error
      await systemClock.sleep(100)
    }
  }
  return {
    child,
    client,
    async stop() {
      if (child.exitCode !== null) return
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}

/** Tells how far a replay is and what memory its cloud takes, from time to time; answers with what it saw. */
function reporter({ child }: RunningCloud, total: number) {
  const startedMs = performance.now()
  const seen: number[] = []
  let toldAt = -Infinity
  /** By replays that are over. */
  let before = { resolved: 0, sinceMs: startedMs }
  return {
    seen,
    /** What comes now is of another replay. */
    next(resolved: number): void {
      before = { resolved, sinceMs: performance.now() }
    },
    look({ replay, state, sent, resolved: own }: Progress): void {
      const resolved = before.resolved + own
      if (resolved < total && resolved - toldAt < total / rounds) return
      toldAt = resolved
      const resident = residentMiB(readFileSync(`/proc/${child.pid}/status`, 'utf8'))
      seen.push(resident)
      const seconds = (performance.now() - startedMs) / 1000
      say(
        `  ${seconds.toFixed(1).padStart(6)} s  replay ${replay} ${state.padEnd(8)} sent ${String(sent).padStart(7)}  ` +
          `resolved ${String(own).padStart(7)}  ${((own * 1000) / (performance.now() - before.sinceMs)).toFixed(0).padStart(6)} letters/s  RSS ${resident.toFixed(0)} MiB`,
      )
    },
  }
}

async function alone(cloud: RunningCloud, query: Query): Promise<string[]> {
  say(`one operator: ${letters} letters at ${rate} a second, stopped at a third, resumed`)
  const { client } = cloud
  const first = await replayAll(client, rate)
  const report = reporter(cloud, letters)
  const onLook = (progress: Progress): boolean => {
    report.look(progress)
    return false
  }
  const third = (progress: Progress): boolean => onLook(progress) || progress.resolved > letters / 3
  await watch(client, first, { everyMs: 250, onLook: third })
  await stop(client, first)
  const stopped = await watch(client, first, { everyMs: 250 })
  say(`  replay ${first} is ${stopped.state}: sent ${stopped.sent}, resolved ${stopped.resolved}`)
  report.next(stopped.resolved)
  const resumed = await replayAll(client, rate)
  const done = await watch(client, resumed, { everyMs: 250, onLook })
  const { seen } = report
  // The first looks are of a program that is not compiled yet.
  const growth = (seen.at(-1) ?? 0) - (seen[Math.floor(seen.length / 4)] ?? 0)
  say(
    `  RSS ${Math.min(...seen).toFixed(0)} to ${Math.max(...seen).toFixed(0)} MiB; ${growth.toFixed(0)} MiB more at the end than after a quarter`,
  )
  const faults = await faultsOf(query, [stopped, done], letters)
  if (stopped.state !== 'stopped' || done.state !== 'done')
    faults.push(`the replays are ${stopped.state} and ${done.state}`)
  if (growth > growthMiBMax) faults.push(`memory grew by ${growth.toFixed(0)} MiB`)
  return faults
}

async function atOnce(clouds: readonly [RunningCloud, RunningCloud], query: Query): Promise<string[]> {
  say(`two operators, two clouds: the same filter over ${letters} letters at once`)
  const startedMs = performance.now()
  const asked = await Promise.all(clouds.map(({ client }) => replayAll(client)))
  const ended = await Promise.all(
    asked.map((replay, index) => watch((clouds[index] as RunningCloud).client, replay, { everyMs: 250 })),
  )
  const seconds = (performance.now() - startedMs) / 1000
  for (const { replay, state, total, sent, resolved } of ended)
    say(`  replay ${replay} ${state}: of ${total} it had ${sent}, resolved ${resolved}`)
  say(`  ${seconds.toFixed(1)} s, ${(letters / seconds).toFixed(0)} letters/s together`)
  return faultsOf(query, ended, letters)
}

async function main(): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-replays-'))
  // The servers do not run as root: their users must be able to reach their data.
  chmodSync(folder, 0o711)
  const user = {
    name: 'replays',
    password: 'replays',
    permissions: { configure: '.*', write: '.*', read: '.*' },
  }
  const rabbit = await obtainRabbit({
    dir: join(folder, 'rabbit'),
    users: [user],
    vhosts: ['replays'],
    env: {},
    say,
  })
  const postgres = await obtainPostgres({ dir: join(folder, 'postgres'), env: {}, say })
  if (rabbit.how === 'given' || postgres.how === 'given')
    throw new Error('servers that were given are not used here')
  const urls = { broker: rabbit.server.urlFor(user.name, 'replays'), database: postgres.server.url }
  const database = createDatabase({ url: urls.database, poolMax: 2, applicationName: 'replays' })
  const query: Query = (sql, values) => database.query(sql, values)
  writeFileSync(join(folder, 'effects.mjs'), effectsModule)
  const clouds: RunningCloud[] = []
  try {
    const first = await startCloud(folder, 'cloud-1', urls)
    clouds.push(first)
    await query(effectsTable)
    await writeLetters(query, letters, partitions)
    const faults = await alone(first, query)
    await query(
      'truncate public.effects, tidegate.dead_letters, tidegate.failure_groups, tidegate.failure_counts, tidegate.inbox_claims',
    )
    await writeLetters(query, letters, partitions)
    const second = await startCloud(folder, 'cloud-2', urls)
    clouds.push(second)
    faults.push(...(await atOnce([first, second], query)))
    for (const fault of faults) say(`FAULT ${fault}`)
    if (faults.length === 0) say('each letter was in one replay, and had its effect once')
    return faults.length === 0
  } finally {
    await Promise.all(clouds.map((cloud) => cloud.stop()))
    await database.close()
    await Promise.all([rabbit.server.close(), postgres.server.stop()])
    rmSync(folder, { recursive: true, force: true })
  }
}

if (!(await main())) process.exitCode = 1
