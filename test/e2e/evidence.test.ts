import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import { Connection } from 'rabbitmq-client'
import { afterEach, expect, test, vi } from 'vitest'
import type { Report } from '../../dev/report.ts'
import { wire } from '../../src/wire.ts'
import { useFolder } from '../support/kept-folder.ts'

const cli = fileURLToPath(new URL('../../dist/cli/tidegate.js', import.meta.url))
const dir = useFolder('tidegate-evidence-')
const data = join(dir, 'data')
const running = new Set<ChildProcess>()
afterEach(async () => {
  for (const child of running) {
    child.kill('SIGTERM')
    await once(child, 'close')
  }
}, 60_000)

interface Run {
  child: ChildProcess
  ended: Promise<number | null>
  output(): string
}

function start(...args: string[]): Run {
  const { TIDEGATE_AMQP_URL: _amqp, TIDEGATE_PG_URL: _pg, ...env } = process.env
  const child = spawn(process.execPath, [cli, ...args], { env, cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  }
  const ended = new Promise<number | null>((resolve) =>
    child.once('close', (code) => {
      running.delete(child)
      resolve(code)
    }),
  )
  return { child, ended, output: () => output }
}

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

async function rowsIn(url: string): Promise<number> {
  const client = new Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<{ count: string }>('select count(*) as count from tidegate.events')
  await client.end()
  return Number(rows[0]?.count)
}

/** Whatever no group wants. */
async function leaveUnroutable(): Promise<void> {
  const { cloud } = JSON.parse(readFileSync(join(data, 'server.json'), 'utf8')) as { cloud: string }
  const port = readFileSync(join(data, 'rabbit', 'amqp.port'), 'utf8')
  const connection = new Connection(`amqp://cloud:${encodeURIComponent(cloud)}@127.0.0.1:${port}`)
  const publisher = connection.createPublisher({ confirm: true })
  await publisher.send({ routingKey: wire.unroutable, durable: true }, Buffer.from('no event'))
  await publisher.close()
  await connection.close()
}

test('a run whose books do not balance says which events are missing and where they are, deletes nothing, and lets no other run change what is left (G8)', async () => {
  const json = join(dir, 'report.json')
  const options = ['--devices', '5', '--rate', '20', '--outage', '0s', '--no-trouble', '--dir', data]
  const run = start('simulate', ...options, '--for', '8s', '--patience', '1s', '--report', json)
  await vi.waitFor(() => expect(run.output()).toMatch(/[1-9]\d* stored/), 100_000)
  await leaveUnroutable()
  const taken = await takeFromHistory(urlIn(run, psql), 7)

  expect(await run.ended).toBe(1)
  const evidence = join(data, 'evidence.json')
  for (const said of [
    'THE BOOKS DO NOT BALANCE',
    '7 acknowledged events are missing from the history, and were looked for:',
    '7  nowhere: it is lost',
    'Still held: tidegate.unroutable 1.',
    `lie in ${data}, and ${evidence} names each event`,
    `npx tidegate outbox inspect --data-dir ${join(data, 'edge')}`,
    `npx tidegate dev --servers-only --dir ${data}`,
  ])
    expect(run.output()).toContain(said)
  const report = JSON.parse(readFileSync(json, 'utf8')) as Report
  expect(report).toMatchObject({ balanced: false, missing: 7 })
  expect(report.missingEvents.map(({ id }) => id).toSorted()).toEqual(taken.toSorted())
  expect(report.missingEvents.every(({ where }) => where === 'nowhere')).toBe(true)
  expect(report.audit.ledgers.reduce((sum, { gaps }) => sum + gaps.count, 0)).toBe(7)
  expect(readFileSync(join(dir, 'report.html'), 'utf8')).toContain('What is missing, and where it is')

  const next = start('simulate', ...options)
  expect(await next.ended).toBe(1)
  expect(next.output()).toMatch(/EVIDENCE_KEPT/)
  expect(next.output()).toContain('see data/evidence.json first')

  const servers = start('dev', '--servers-only', '--dir', data)
  await vi.waitFor(() => expect(servers.output()).toContain('Ctrl-C stops them'), 120_000)
  expect(servers.output()).toMatch(/ 1 {2}tidegate\.unroutable/)
  expect(await rowsIn(urlIn(servers, psql))).toBe(report.stored)
  servers.child.kill('SIGTERM')
  expect(await servers.ended).toBe(0)
  for (const left of ['edge', 'rabbit', 'postgres', 'logs']) expect(existsSync(join(data, left))).toBe(true)
}, 400_000)

test('the servers of a folder that no run has left are not started', async () => {
  const run = start('dev', '--servers-only', '--dir', join(dir, 'nothing'))
  expect(await run.ended).toBe(1)
  expect(run.output()).toContain('STACK_ABSENT')
  expect(existsSync(join(dir, 'nothing'))).toBe(false)
}, 60_000)
