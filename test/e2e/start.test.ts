import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { Connection } from 'rabbitmq-client'
import { afterEach, expect, test, vi } from 'vitest'
import type { Report } from '../../dev/report/report.ts'
import { wire } from '../../src/contract/wire.ts'
import { useFolder } from '../support/kept-folder.ts'
import { createReadyDatabase, createVhost } from '../support/servers.ts'

const cli = fileURLToPath(new URL('../../dist/cli/tidegate.js', import.meta.url))
const dir = useFolder('tidegate-start-')
const data = join(dir, 'data')
const running: Run[] = []
let givenFolders = 0

afterEach(async () => {
  for (const run of running.splice(0)) {
    run.child.kill('SIGTERM')
    await run.ended
  }
})

interface Run {
  child: ChildProcess
  /** Exit code. */
  ended: Promise<number | null>
  /** Resolves when this was printed. */
  printed(text: string): Promise<void>
  output(): string
}

function start(...args: string[]): Run {
  return launch(['dev', '--dir', data, ...args], process.env)
}

/** In a folder of its own on servers that are there already: what is tested is not who starts them. */
async function startOnGiven(...args: string[]): Promise<Run> {
  const env = {
    ...process.env,
    TIDEGATE_AMQP_URL: await createVhost(),
    TIDEGATE_PG_URL: await createReadyDatabase(),
  }
  return launch(['dev', '--dir', join(dir, `given-${givenFolders++}`), ...args], env)
}

function launch(args: readonly string[], env: NodeJS.ProcessEnv): Run {
  const child = spawn(process.execPath, [cli, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  const watchers = new Set<() => void>()
  const take = (chunk: Buffer): void => {
    output += chunk.toString('utf8')
    for (const watch of watchers) watch()
  }
  child.stdout.on('data', take)
  child.stderr.on('data', take)
  const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)))
  const run: Run = {
    child,
    ended,
    output: () => output,
    printed(text) {
      return new Promise((resolve, reject) => {
        const watch = (): void => {
          if (output.includes(text)) resolve()
        }
        watchers.add(watch)
        watch()
        void ended.then((code) =>
          reject(new Error(`ended with ${code} before it printed ${text}:\n${output}`)),
        )
      })
    },
  }
  running.push(run)
  return run
}

/** On servers of its own, whatever is given: what is done to them is nobody else's. */
function launchOwn(...args: string[]): Run {
  const { TIDEGATE_AMQP_URL: _amqp, TIDEGATE_PG_URL: _pg, ...env } = process.env
  return launch(args, env)
}

/** A minute apart each. */
function rows(count: number): string {
  return Array.from({ length: count }, (_, index) => {
    const minute = String(index).padStart(2, '0')
    return `2016-01-01 00:${minute}:00,${index}\n`
  }).join('')
}

const up = 'Look inside'

/** Living processes whose command line is about a folder of these tests. */
function left(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => ({ pid, command: read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ') }))
    .filter(({ command }) => command.includes(dir))
    .map(({ pid, command }) => `${pid} ${command}`)
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function pidOf(config: string): number {
  const line = left().find((line) => line.includes(config))
  if (line === undefined) throw new Error(`no process was started with ${config}`)
  return Number(line.split(' ')[0])
}

async function untilNothingIsLeft(): Promise<void> {
  while (left().length > 0) await new Promise((resolve) => setTimeout(resolve, 50))
}

test('an unattended run with an outage balances its books, writes its report and leaves nothing running', async () => {
  const file = join(dir, 'report.json')
  const run = start('--for', '9s', '--outage', '3s', '--rate', '200', '--report', file)
  await run.ended
  expect(run.output()).toContain('The books balance.')
  expect(run.child.exitCode).toBe(0)
  expect(left()).toEqual([])

  const report = JSON.parse(readFileSync(file, 'utf8')) as Report
  expect(report).toMatchObject({ balanced: true, missing: 0, storedTwice: 0 })
  expect(report.published).toBeGreaterThan(1600)
  expect(report.acknowledged).toBe(report.published)
  expect(report.stored).toBe(report.published)
  // 3 s of 200 events/s had nowhere to go.
  expect(report.maxBuffered).toBeGreaterThan(400)
  expect(report.expectedQuarantined).toBeGreaterThan(8)
  expect(report.quarantined).toBe(report.expectedQuarantined)
  expect(report.deadLetters).toBe(0)
  expect(report.duplicates).toBe(report.misdeeds.repeat?.ended)
  expect(report.latencyMs.backlog.p50).toBeGreaterThan(report.latencyMs.live.p50)
  for (const misdeed of Object.values(report.misdeeds)) {
    expect(misdeed.expected).toBeGreaterThan(2)
    expect(misdeed.ended).toBe(misdeed.expected)
  }
  expect(Object.keys(report.misdeeds)).toHaveLength(6)
  expect(readFileSync(join(dir, 'report.html'), 'utf8')).toContain('The books balance')
}, 120_000)

test('a second run in the same folder is refused with the first one’s PID, and on SIGTERM everything of the first stops', async () => {
  const first = start()
  await first.printed('published')
  const second = start()
  expect(await second.ended).toBe(1)
  expect(second.output()).toContain(`${first.child.pid}`)
  expect(second.output()).toContain('--dir')
  expect(second.output()).not.toContain('    at ')
  expect(left().length).toBeGreaterThan(3)
  first.child.kill('SIGTERM')
  expect(await first.ended).toBe(0)
  expect(left()).toEqual([])
}, 120_000)

test('a run that is stopped in the middle of an outage lets the backlog through and balances its books', async () => {
  const run = await startOnGiven(
    '--for',
    '100s',
    '--outage',
    '98s',
    '--rate',
    '50',
    '--report',
    join(dir, 'stopped.json'),
  )
  await run.printed('the uplink is taken down')
  run.child.kill('SIGTERM')
  expect(await run.ended).toBe(0)
  expect(run.output()).toContain('the uplink is up again')
  expect(run.output()).toContain('The books balance.')
}, 120_000)

test('a run that is told twice to stop gives up at once, and says what was not awaited', async () => {
  const run = await startOnGiven('--report', join(dir, 'given-up.json'))
  await run.printed('published')
  const cloud = pidOf('cloud-1.yaml')
  process.kill(cloud, 'SIGSTOP')
  run.child.kill('SIGTERM')
  await run.printed('the sensors stop')
  const insisting = setInterval(() => run.child.kill('SIGTERM'), 50)
  await run.printed('Not awaited:')
  clearInterval(insisting)
  process.kill(cloud, 'SIGCONT')
  expect(await run.ended).toBe(1)
  expect(run.output()).not.toContain('BOOKS')
  expect(left()).toEqual([])
}, 120_000)

test('everything stops when it is killed and can say nothing', async () => {
  const run = start()
  await run.printed(up)
  run.child.kill('SIGKILL')
  await run.ended
  await untilNothingIsLeft()
  expect(left()).toEqual([])
}, 120_000)

test('the crash of a child ends the run, says which it was, and stops the rest', async () => {
  const run = await startOnGiven()
  await run.printed('published')
  process.kill(pidOf('cloud-1.yaml'), 'SIGKILL')
  expect(await run.ended).toBe(1)
  expect(run.output()).toContain('cloud-1 ended by itself (SIGKILL)')
  expect(run.output()).toContain(`Nothing was deleted: outbox, servers' data and logs lie in ${dir}/given-`)
  expect(left()).toEqual([])
}, 120_000)

test('series are replayed to their end, bad rows are named, and every reading arrives with its own time', async () => {
  const folder = join(dir, 'series')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'pump 1.csv'), `timestamp,value\n${rows(40)}never,1\n`)
  writeFileSync(join(folder, 'pump 2.csv'), `timestamp,value\n${rows(20)}`)
  const file = join(dir, 'replay.json')
  const run = await startOnGiven('--replay', folder, '--speed', '1000', '--report', file)
  await run.ended
  expect(run.output()).toContain('The books balance.')
  expect(run.output()).toContain('pump 1.csv:42: "never" is not a time')
  const report = JSON.parse(readFileSync(file, 'utf8')) as Report
  expect(report).toMatchObject({ balanced: true, published: 60, stored: 60, missing: 0 })
  expect(report.run).toMatchObject({ mode: 'replay', devices: 2, skippedRows: 1 })
}, 120_000)

test.each([
  [['--outage', '10s'], 'must be shorter'],
  [['--replay', '/nowhere'], 'cannot read /nowhere'],
  [['--rate', 'fast'], 'a number in digits, above 0'],
  [['--for', 'soon'], 'a duration with its unit'],
  [['--consumer', '/nowhere.js'], 'there is no file /nowhere.js'],
  [['--consumer', fileURLToPath(import.meta.url)], 'CONSUMER_MODULE'],
])('%j is refused in one screen', async (args, reason) => {
  const run = start(...args)
  expect(await run.ended).not.toBe(0)
  expect(run.output()).toContain(reason)
  expect(run.output()).not.toContain('    at ')
})

test('a consumer of a visitor runs beside ours, on what the sensors publish', async () => {
  const seen = join(dir, 'seen.txt')
  const module = join(dir, 'own.mjs')
  writeFileSync(
    module,
    `import { appendFileSync } from 'node:fs'
export default {
  group: 'own', types: ['com.tidegate.demo.#'],
  handle: (event) => appendFileSync(${JSON.stringify(seen)}, event.partitionkey + '\\n'),
}
`,
  )
  const run = await startOnGiven('--for', '4s', '--no-trouble', '--consumer', module)
  expect(await run.ended, run.output()).toBe(0)
  expect(read(seen)).toMatch(/^sensor-\d+$/m)
}, 120_000)

test('the commands that the view prints find a letter, repair it and replay it, as they stand (G5)', async () => {
  const file = join(dir, 'walk.json')
  const run = await startOnGiven('--rate', '20', '--report', file)
  await run.printed('--state resolved')
  const [, letter] = /A letter to repair, (\d+) of climate-alarms/.exec(run.output()) ?? []
  const commands = [...run.output().matchAll(/^ {4}(npx tidegate dead .*)$/gm)].map(([, line = '']) => line)
  // Two of them are among those that look inside.
  expect(commands).toHaveLength(9)
  const said: string[] = []
  // As whoever copies them: a shell, in a folder of the project.
  const cwd = fileURLToPath(new URL('.', import.meta.url))
  for (const line of commands) {
    const { stdout, stderr } = await promisify(execFile)('sh', ['-c', line], { cwd })
    said.push(stdout + stderr)
  }
  const [quarantined, , groups, list, show, preview, edited, replayed, resolved] = said
  expect(quarantined).toContain('trouble-schema')
  expect(groups).toContain('TEMPERATURE_IMPLAUSIBLE')
  expect(list).toContain('trouble-fahrenh')
  expect(show).toContain('"temperature": 68.4')
  expect(preview).toContain('would replay 1 letters')
  expect(edited).toContain(`letter ${letter} is edited`)
  expect(replayed).toContain('1 of 1, done')
  expect(resolved).toMatch(new RegExp(`^ *${letter} +resolved`, 'm'))
  run.child.kill('SIGTERM')
  expect(await run.ended, run.output()).toBe(0)
  expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ balanced: true, deadLetters: 0 })
}, 120_000)

function urlIn(run: Run, pattern: RegExp): string {
  const url = pattern.exec(run.output())?.[1]
  if (url === undefined) throw new Error(`no ${pattern} in\n${run.output()}`)
  return url
}

const psql = /psql '([^']+)'/

/** What a backup that was put back too early does to a record. */
async function takeFromHistory(url: string, count: number): Promise<string[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    await client.query('set session_replication_role = replica')
    const taken = `select position from tidegate.events where source like '/devices/sensor-%' limit ${count}`
    const { rows } = await client.query<{ id: string }>(
      `delete from tidegate.events where position in (${taken}) returning id`,
    )
    expect(rows).toHaveLength(count)
    return rows.map(({ id }) => id)
  } finally {
    await client.end()
  }
}

/** What the gateway writes by itself is not the fleet's. */
async function rowsIn(url: string): Promise<number> {
  const client = new Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<{ count: string }>(
    "select count(*) as count from tidegate.events where source like '/devices/sensor-%'",
  )
  await client.end()
  return Number(rows[0]?.count)
}

/** Whatever no group wants. */
async function leaveUnroutable(data: string): Promise<void> {
  const { cloud } = JSON.parse(readFileSync(join(data, 'server.json'), 'utf8')) as { cloud: string }
  const port = readFileSync(join(data, 'rabbit', 'amqp.port'), 'utf8')
  const connection = new Connection(`amqp://cloud:${encodeURIComponent(cloud)}@127.0.0.1:${port}`)
  const publisher = connection.createPublisher({ confirm: true })
  await publisher.send({ routingKey: wire.unroutable, durable: true }, Buffer.from('no event'))
  await publisher.close()
  await connection.close()
}

test('a run whose books do not balance says which events are missing and where they are, deletes nothing, and lets no other run change what is left (G8)', async () => {
  // No other run begins in it afterwards.
  const data = join(dir, 'unbalanced')
  const json = join(dir, 'unbalanced.json')
  const options = ['--devices', '5', '--rate', '20', '--outage', '0s', '--no-trouble', '--dir', data]
  const run = launchOwn('simulate', ...options, '--for', '8s', '--patience', '1s', '--report', json)
  await run.printed(up)
  await vi.waitFor(() => expect(run.output()).toMatch(/ stored [1-9]/), 60_000)
  await leaveUnroutable(data)
  const taken = await takeFromHistory(urlIn(run, psql), 7)

  expect(await run.ended).toBe(1)
  const evidence = join(data, 'evidence.json')
  for (const said of [
    'THE BOOKS DO NOT BALANCE',
    '7 acknowledged events are missing from the history, and were looked for:',
    '7  nowhere: it is lost',
    'and 2 more: all of them are in',
    `and to start afresh: rm -r ${data}`,
    // A stop in order signs what is left: that waits for the next start.
    'Still held: the outbox 1, tidegate.unroutable 1.',
    `lie in ${data}, and ${evidence} names each event`,
    `npx tidegate outbox inspect --data-dir ${join(data, 'edge')}`,
    `npx tidegate dev --servers-only --dir ${data}`,
  ])
    expect(run.output()).toContain(said)
  expect(taken.filter((id) => run.output().includes(`${id}: nowhere`))).toHaveLength(5)
  const report = JSON.parse(readFileSync(json, 'utf8')) as Report
  expect(report).toMatchObject({ balanced: false, missing: 7 })
  expect(report.missingEvents.map(({ id }) => id).toSorted()).toEqual(taken.toSorted())
  expect(report.missingEvents.every(({ where }) => where === 'nowhere')).toBe(true)
  expect(report.audit.ledgers.reduce((sum, { gaps }) => sum + gaps.count, 0)).toBe(7)
  expect(readFileSync(join(dir, 'unbalanced.html'), 'utf8')).toContain('What is missing, and where it is')

  const next = launchOwn('simulate', ...options)
  expect(await next.ended).toBe(1)
  expect(next.output()).toMatch(/EVIDENCE_KEPT/)
  expect(next.output()).toContain(`see ${evidence} first`)

  const servers = launchOwn('dev', '--servers-only', '--dir', data)
  await servers.printed('Ctrl-C stops them')
  expect(servers.output()).toMatch(/ 1 {2}tidegate\.unroutable/)
  expect(await rowsIn(urlIn(servers, psql))).toBe(report.stored)
  servers.child.kill('SIGTERM')
  expect(await servers.ended).toBe(0)
  for (const left of ['edge', 'rabbit', 'postgres', 'logs']) expect(existsSync(join(data, left))).toBe(true)
}, 400_000)

test('the servers of a folder that no run has left are not started', async () => {
  const run = launchOwn('dev', '--servers-only', '--dir', join(dir, 'nothing'))
  expect(await run.ended).toBe(1)
  expect(run.output()).toContain('STACK_ABSENT')
  expect(existsSync(join(dir, 'nothing'))).toBe(false)
}, 60_000)
