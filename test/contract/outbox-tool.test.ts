import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentOutboxObserver } from '../../edge/observers.ts'
import { renderReport } from '../../edge/outbox-report.ts'
import { openQueue, repairQueue } from '../../edge/outbox-tool.ts'
import { openOutbox } from '../../edge/outbox/open.ts'
import type { Outbox } from '../../edge/outbox.ts'
import { createScratch } from '../../edge/scratch.ts'
import { levelFolder } from '../../edge/store-level.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { submission } from '../support/outbox-events.ts'

const clock = systemClock
const scratch = createScratch()
let dataDir: string
const closers: (() => Promise<unknown>)[] = []

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'tidegate-tool-'))
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  await rm(dataDir, { recursive: true, force: true })
})

const folder = () => levelFolder({ folder: join(dataDir, 'outbox'), reserveBytes: 0, clock })

async function filled(): Promise<Outbox> {
  const outbox = await openOutbox({
    folder: folder(),
    gateway: 'gw-1',
    clock,
    random: Math.random,
    log: silentLog,
    observer: silentOutboxObserver,
  })
  closers.push(() => outbox.close())
  for (let index = 0; index < 30; index++) {
    await outbox.append(
      submission(`d${index % 3}`, `e${index}`, { lane: index % 10 === 0 ? 'high' : 'normal' }),
    )
  }
  return outbox
}

/** A gateway's outbox and its side of the door, as edge/main.ts opens it, in a process of its own. */
async function atWork(): Promise<{ url: string }> {
  await (await filled()).close()
  const child = spawn(process.execPath, ['--input-type=module', '-e', gateway, dataDir], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'close')
  closers.push(() => {
    child.stdin.end()
    return ended
  })
  const [url] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string]
  return { url: url.trim() }
}

const gateway = `
  import { join } from 'node:path'
  import { silentOutboxObserver as observer } from './dist/edge/observers.js'
  import { doorRoutes, newToken, opsUrl, writeDoor } from './dist/edge/outbox-door.js'
  import { openOutbox } from './dist/edge/outbox/open.js'
  import { levelFolder } from './dist/edge/store-level.js'
  import { systemClock as clock } from './dist/src/clock.js'
  import { silentLog as log } from './dist/src/log.js'
  import { startOpsServer } from './dist/src/ops-server.js'
  const [, dataDir] = process.argv
  const folder = levelFolder({ folder: join(dataDir, 'outbox'), reserveBytes: 0, clock })
  const outbox = await openOutbox({ folder, gateway: 'gw-1', clock, random: Math.random, log, observer })
  const token = newToken()
  const routes = doorRoutes({ outbox: () => outbox, stats: () => outbox.stats(), usedBytes: async () => 7, token })
  const server = await startOpsServer({ host: '127.0.0.1', port: 0, metrics: async () => '', ready: () => ({}), routes })
  const url = opsUrl('127.0.0.1', server.port)
  const door = await writeDoor(dataDir, { url, token })
  process.stdin.resume().once('end', async () => {
    await server.close()
    await door.close()
    await outbox.close()
  })
  console.log(url)`

async function textsOf(texts: AsyncIterable<string>): Promise<Record<string, unknown>[]> {
  const events: Record<string, unknown>[] = []
  for await (const text of texts) events.push(JSON.parse(text) as Record<string, unknown>)
  return events
}

describe.each([
  ['stopped', async () => (await filled()).close()],
  ['running', async () => void (await atWork())],
])('the queue of a gateway that is %s', (state, prepare) => {
  it('can be inspected, verified and exported', async () => {
    await prepare()
    const queue = await openQueue({ dataDir, clock, scratch, thorough: true })
    closers.push(() => queue.close())
    expect(queue.running).toBe(state === 'running')
    const report = await queue.inspect(2)
    expect(report).toMatchObject({ gateway: 'gw-1', lastSequence: 30, deviceCount: 3, rememberedIds: 30 })
    expect(report.lanes.high).toMatchObject({ events: 3, oldest: { sequence: 1, deviceId: 'd0' } })
    expect(report.lanes.normal).toMatchObject({ events: 27, oldest: { sequence: 2, deviceId: 'd1' } })
    expect(report.devices).toHaveLength(2)
    expect(renderReport(report, queue.running, undefined)).toMatch(/gw-1[^]*27 events[^]*sequence 2, d1/)
    expect(await queue.verify()).toEqual({ events: 30, faults: [] })
    const all = await textsOf(queue.export({}))
    expect(all.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 30 }, (_, index) => index + 1))
    const some = await textsOf(
      queue.export({ deviceId: 'd1', fromSequence: 5, toSequence: 14, lane: 'normal' }),
    )
    expect(some.map(({ id }) => id)).toEqual(['e4', 'e7', 'e13'])
  })
})

it('the queue of a running gateway is told to nobody without the token of its data folder', async () => {
  const { url } = await atWork()
  expect((await fetch(`${url}/outbox/export`)).status).toBe(401)
  expect((await fetch(`${url}/outbox/export`, { headers: { authorization: 'Bearer guess' } })).status).toBe(
    401,
  )
  expect((await stat(join(dataDir, 'ops-door.json'))).mode & 0o077).toBe(0)
})

it('what is wrong with a queue is named', async () => {
  await (await filled()).close()
  const store = await folder().open()
  const [entry] = await store.entries({ gte: 'e!n!', lt: 'e!n!~' }, 1)
  await store.write(
    [
      { type: 'put', key: String(entry?.[0]), value: String(entry?.[1]).replace('"value":1', '"value":2') },
      { type: 'put', key: 'q!d2', value: '99 1' },
    ],
    { sync: true },
  )
  await store.close()
  const queue = await openQueue({ dataDir, clock, scratch, thorough: true })
  const { faults } = await queue.verify()
  await queue.close()
  expect(faults.join('\n')).toMatch(
    /position 2 .*not what was written[^]*26 events, the head says 27[^]*d2 has \d+ events queued, its count says 99/,
  )
})

it('repair keeps a copy, counts what is lost, and leaves a queue that verifies', async () => {
  await (await filled()).close()
  const store = await folder().open()
  const [entry] = await store.entries({ gte: 'e!n!', lt: 'e!n!~' }, 1)
  await store.write([{ type: 'del', key: String(entry?.[0]) }], { sync: true })
  await store.close()
  const { backup, lost, queued } = await repairQueue({
    dataDir,
    gateway: 'gw-1',
    backup: true,
    clock,
    random: Math.random,
    scratch,
  })
  expect(lost).toBe(1)
  expect(await readdir(String(backup))).toContain('db')
  const queue = await openQueue({ dataDir, clock, scratch, thorough: true })
  // Beside the 29 that are left: what the cloud must be told of the one.
  expect(queued).toBeGreaterThan(29)
  expect(await queue.verify()).toEqual({ events: queued, faults: [] })
  await queue.close()
})

it('repair refuses a queue that is at work, and a folder without one', async () => {
  await atWork()
  const options = { gateway: 'gw-1', backup: false, clock, random: Math.random, scratch }
  await expect(repairQueue({ ...options, dataDir })).rejects.toMatchObject({ code: 'OUTBOX_LOCKED' })
  await expect(repairQueue({ ...options, dataDir: tmpdir() })).rejects.toMatchObject({
    code: 'OUTBOX_ABSENT',
  })
})
