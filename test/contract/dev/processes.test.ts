import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createSteadyCounter, parseMetrics } from '../../../dev/watch/scrape.ts'
import { createProgram, type Program } from '../../../dev/stack/processes.ts'
import { readableLine } from '../../../dev/stack/program-log.ts'
import type { TidegateError } from '../../../src/errors.ts'
import { programFile } from '../../support/program.ts'

let dir: string
let ops: Server
let program: Program | undefined
let crashes: TidegateError[]

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tidegate-program-'))
  crashes = []
  ops = createServer((_, response) => response.end('ready'))
  await new Promise<void>((resolve) => ops.listen(0, '127.0.0.1', resolve))
})

afterEach(async () => {
  await program?.kill('SIGKILL')
  await new Promise((resolve) => ops.close(resolve))
  rmSync(dir, { recursive: true })
})

function create(args: string[], readyPath = ''): Program {
  const { port } = ops.address() as AddressInfo
  const created = createProgram({
    name: 'edge',
    args,
    logFile: join(dir, 'edge.log'),
    readyUrl: readyPath === '' ? `http://127.0.0.1:${port}/` : readyPath,
    readyWithinMs: 5000,
    onCrash: (error) => crashes.push(error),
  })
  program = created
  return created
}

const untilStopped = [programFile('until-stopped')]

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}

test('a program killed on purpose is no crash, and starts again', async () => {
  const program = create(untilStopped)
  await program.start()
  const first = program.pid
  await program.kill('SIGKILL')
  expect(program.pid).toBeUndefined()
  await program.start()
  expect(program.pid).not.toBe(first)
  await program.stop()
  expect(crashes).toEqual([])
  expect(program.starts).toBe(2)
})

test('a program that ends by itself is a crash, told with its last lines', async () => {
  const program = create([...untilStopped, 'crash'])
  await program.start()
  await until(() => crashes.length > 0)
  expect(crashes[0]).toMatchObject({ code: 'PROGRAM_CRASHED' })
  expect(crashes[0]?.message).toContain('exit code 3')
  expect(crashes[0]?.message).toContain('out of cheese')
})

test('a program that cannot start says why at once', async () => {
  const program = create([programFile('port-taken')], 'http://127.0.0.1:1/')
  await expect(program.start()).rejects.toThrow(/exit code 1[\s\S]*the port is taken/)
  expect(crashes).toEqual([])
})

test.each([
  ['while it runs', /^\d+\n[\s\S]*here/],
  ['before it came to listen', /^\d+$/m],
])('a program stops when its starter is killed %s', async (_, moment) => {
  const log = join(dir, 'starter.log')
  const { port } = ops.address() as AddressInfo
  const outer = createProgram({
    name: 'starter',
    args: [programFile('starter'), ...untilStopped],
    logFile: log,
    readyUrl: `http://127.0.0.1:${port}/`,
  })
  await outer.start()
  await until(() => moment.test(readFileSync(log, 'utf8')))
  const pid = Number.parseInt(readFileSync(log, 'utf8'), 10)
  await outer.kill('SIGKILL')
  await until(() => !isAlive(pid))
  expect(isAlive(pid)).toBe(false)
})

/** What nobody has waited for yet is dead all the same (proc_pid_stat(5), field 3). */
function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

test('new lines are read once, and only whole ones', async () => {
  const program = create(untilStopped)
  const log = join(dir, 'edge.log')
  appendFileSync(log, 'one\ntwo\nthr')
  expect(program.newLines()).toEqual(['one', 'two'])
  appendFileSync(log, 'ee\n')
  expect(program.newLines()).toEqual(['three'])
  expect(program.newLines()).toEqual([])
})

test('a structured log line is shown as a sentence', () => {
  expect(
    readableLine(
      '{"level":"warn","msg":"the uplink was lost","code":"ECONNRESET","err":{"message":"reset"}}',
    ),
  ).toEqual({ level: 'warn', text: 'the uplink was lost reset (ECONNRESET)' })
  expect(readableLine('plain words')).toEqual({ level: 'info', text: 'plain words' })
})

test('metrics are summed over labels, and a restart takes nothing from a counter', () => {
  const metrics = parseMetrics(
    '# HELP a b\n# TYPE a counter\na{lane="high",note="x\\"y"} 2\na{lane="normal"} 3.5\nb 1e3\nc_bucket{le="+Inf"} 7\n',
  )
  expect(metrics.value('a')).toBe(5.5)
  expect(metrics.value('a', { lane: 'high' })).toBe(2)
  expect(metrics.value('b')).toBe(1000)
  expect(metrics.value('nothing')).toBeUndefined()
  const counter = createSteadyCounter()
  expect([5, 9, undefined, 2, 4].map((value) => counter.read(value))).toEqual([5, 9, 9, 11, 13])
})
