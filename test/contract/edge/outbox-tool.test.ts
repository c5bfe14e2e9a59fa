import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { renderLoss, renderReport } from '../../../edge/outbox-tool/report.ts'
import { repairQueue } from '../../../edge/outbox-tool/repair.ts'
import { openQueue } from '../../../edge/outbox-tool/open-queue.ts'
import { encodeAnswered } from '../../../edge/outbox/layout/answered.ts'
import type { Head } from '../../../edge/outbox/layout/head.ts'
import type { Queue } from '../../../edge/outbox-tool/queue.ts'
import type { Exported } from '../../../edge/outbox/look/export.ts'
import type { Outbox } from '../../../edge/outbox/outbox.ts'
import { createScratch } from '../../../edge/store/leveldb/scratch.ts'
import { levelFolder } from '../../../edge/store/store-level.ts'
import type { Store, StoreOperation } from '../../../edge/store/store.ts'
import { systemClock } from '../../../src/clock.ts'
import { ofLayout } from '../../support/edge/other-layout.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { mountSmallDisk } from '../../support/edge/small-disk.ts'
import { programFile } from '../../support/program.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'

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
  const outbox = await openTestOutbox({
    folder: folder(),
    clock,
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
async function atWork(place = dataDir): Promise<string> {
  const child = spawn(process.execPath, [programFile('gateway-outbox'), place], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'close')
  closers.push(() => {
    child.stdin.end()
    return ended
  })
  const [url] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string]
  return url.trim()
}

async function textsOf(exported: AsyncIterable<Exported>): Promise<Record<string, unknown>[]> {
  const events: Record<string, unknown>[] = []
  for await (const one of exported)
    events.push('text' in one ? (JSON.parse(one.text) as Record<string, unknown>) : one)
  return events
}

/** Changes one record behind everybody's back. */
async function alter(change: (db: Store) => Promise<StoreOperation[]>): Promise<void> {
  const store = await folder().open()
  await store.write(await change(store), { sync: true })
  await store.close()
}

/** Not the oldest, which a gateway looks at when it starts. */
async function alterEvent(store: Store): Promise<StoreOperation[]> {
  const [, entry] = await store.entries({ gte: 'e!n!', lt: 'e!n!~' }, 2)
  const [key = '', value = ''] = entry ?? []
  return [{ type: 'put', key, value: value.replace('"value":1', '"value":2') }]
}

async function toNewerHead(store: Store): Promise<StoreOperation[]> {
  return [{ type: 'put', key: 'm', value: ofLayout(99, (await store.get('m')) ?? '') }]
}

async function open(place = dataDir): Promise<Queue> {
  const queue = await openQueue({ dataDir: place, clock, scratch, thorough: true })
  closers.push(() => queue.close())
  return queue
}

const states = [
  ['stopped', async (): Promise<unknown> => undefined],
  ['running', () => atWork()],
] as const

describe.each(states)('the queue of a gateway that is %s', (state, start) => {
  test('can be inspected, verified and exported', async () => {
    await (await filled()).close()
    await start()
    const queue = await open()
    expect(queue.running).toBe(state === 'running')
    const report = await queue.inspect(2)
    expect(report).toMatchObject({ gateway: 'gw-1', lastSequence: 30, deviceCount: 3, rememberedIds: 30 })
    expect(report.lanes.high).toMatchObject({ events: 3, oldest: { sequence: 1, deviceId: 'd0' } })
    expect(report.lanes.normal).toMatchObject({ events: 27, oldest: { sequence: 2, deviceId: 'd1' } })
    expect(report.devices).toHaveLength(2)
    expect(renderReport(queue, report, undefined)).toMatch(/gw-1[^]*27 events[^]*sequence 2, d1/)
    expect(await queue.verify()).toEqual({ events: 30, faults: [] })
    const all = await textsOf(queue.export({}))
    expect(all.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 30 }, (_, index) => index + 1))
    const some = await textsOf(
      queue.export({ deviceId: 'd1', fromSequence: 5, toSequence: 14, lane: 'normal' }),
    )
    expect(some.map(({ id }) => id)).toEqual(['e4', 'e7', 'e13'])
  })

  test('is exported past a damaged record, which is named', async () => {
    await (await filled()).close()
    await alter(alterEvent)
    await start()
    const all = await textsOf((await open()).export({}))
    expect(all.filter(({ type }) => type === 'com.acme.climate')).toHaveLength(29)
    expect(all.filter(({ sequence }) => sequence === undefined)).toEqual([
      { damaged: expect.stringContaining('position 3 (normal) is not what was written') as string },
    ])
  })
})

async function setAside(): Promise<string> {
  const name = (await readdir(join(dataDir, 'outbox'))).find((one) => one.startsWith('quarantined-'))
  return join(dataDir, 'outbox', String(name))
}

test('a gateway that runs on a full disk still tells of its queue', async () => {
  await (await filled()).close()
  const disk = await mountSmallDisk(8)
  closers.push(() => disk.unmount())
  await cp(dataDir, disk.path, { recursive: true })
  await atWork(disk.path)
  disk.fill()
  const queue = await open(disk.path)
  expect(queue.running).toBe(true)
  expect((await queue.verify()).events).toBeGreaterThanOrEqual(30)
})

describe('a store that was set aside', () => {
  test('can be inspected, verified and exported while the gateway goes on without it', async () => {
    await (await filled()).close()
    await folder().setAside()
    await atWork()
    const queue = await open(await setAside())
    expect(await queue.inspect(1)).toMatchObject({ lastSequence: 30 })
    expect(await queue.verify()).toEqual({ events: 30, faults: [] })
    expect(await textsOf(queue.export({}))).toHaveLength(30)
    // The gateway's own: what it has to tell the cloud of the other.
    const own = await textsOf((await open()).export({}))
    expect(own.map(({ type }) => type)).not.toContain('com.acme.climate')
  })

  test('by an older version, because it is of a newer one, is exported as far as it can be understood', async () => {
    await (await filled()).close()
    await alter(toNewerHead)
    await folder().setAside()
    await atWork()
    const queue = await open(await setAside())
    expect(queue.findings.join()).toMatch(/newer version/)
    expect(await textsOf(queue.export({}))).toHaveLength(30)
    await expect(queue.inspect(1)).rejects.toMatchObject({ code: 'STORE_NEWER' })
  })

  test('is not repaired', async () => {
    await (await filled()).close()
    const aside = await folder().setAside()
    const options = { gateway: 'gw-1', backup: false, clock, random: Math.random, scratch, userId: undefined }
    await expect(repairQueue({ ...options, dataDir: aside })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    })
  })
})

test('the queue of a running gateway is told to nobody without the token of its data folder', async () => {
  await (await filled()).close()
  const url = await atWork()
  expect((await fetch(`${url}/outbox/export`)).status).toBe(401)
  expect((await fetch(`${url}/outbox/export`, { headers: { authorization: 'Bearer guess' } })).status).toBe(
    401,
  )
  expect((await stat(join(dataDir, 'ops-door.json'))).mode & 0o077).toBe(0)
})

test('what is wrong with a queue is named', async () => {
  await (await filled()).close()
  await alter(async (store) => [
    ...(await alterEvent(store)),
    { type: 'put', key: 'q!d2', value: '99 1' },
    { type: 'put', key: 'u!0000000000000001', value: 'garbage' },
    { type: 'put', key: 'g!00000001', value: 'garbage' },
  ])
  const { faults } = await (await open()).verify()
  expect(faults.join('\n')).toMatch(
    /position 3 .*not what was written[^]*26 events, the head says 27[^]*d2 has \d+ events queued, its count says 99[^]*1 ranges .* cannot be read/,
  )
  expect(await (await open()).inspect(10)).toMatchObject({ unreported: [], rememberedIds: 30 })
})

test('repair keeps a copy, counts what is lost, and leaves a queue that verifies', async () => {
  await (await filled()).close()
  await alter(async (store) => {
    const [entry] = await store.entries({ gte: 'e!n!', lt: 'e!n!~' }, 1)
    return [{ type: 'del', key: String(entry?.[0]) }]
  })
  const { backup, lost, queued } = await repairQueue({
    dataDir,
    gateway: 'gw-1',
    backup: true,
    clock,
    random: Math.random,
    scratch,
    userId: undefined,
  })
  expect(lost).toBe(1)
  expect(await readdir(String(backup))).toContain('db')
  // Beside the 29 that are left: what the cloud must be told of the one.
  expect(queued).toBeGreaterThan(29)
  expect(await (await open()).verify()).toEqual({ events: queued, faults: [] })
})

/** kill -9 right after the last PUBACK, and then some bytes of what was written last are not what they were. */
async function killedAndDamaged(): Promise<void> {
  const outbox = await filled()
  const copy = join(dataDir, 'killed')
  await cp(join(dataDir, 'outbox'), copy, { recursive: true })
  await outbox.close()
  await rm(join(dataDir, 'outbox'), { recursive: true })
  await rename(copy, join(dataDir, 'outbox'))
  const db = join(dataDir, 'outbox', 'db')
  const log = join(db, (await readdir(db)).find((name) => name.endsWith('.log')) ?? '')
  const bytes = await readFile(log)
  await writeFile(log, bytes.fill(0xff, bytes.length - 120, bytes.length - 100))
}

/** As if the power had failed: the word beside the store is of an earlier boot of the machine, and some seconds old. */
async function powerFailed(): Promise<void> {
  const answered = join(dataDir, 'outbox', 'answered')
  const head = {
    epoch: 'e',
    epochBase: 0,
    position: 12,
    depth: { high: 2, normal: 10 },
    first: { high: 1, normal: 2 },
  } as Head
  await writeFile(answered, `${'0'.repeat(36)} ${encodeAnswered(head, { closed: false })}`)
}

test('an acknowledged event whose record was damaged right after it is lost by name after kill -9, and perhaps after a power cut (G1, G2)', async () => {
  const options = { gateway: 'gw-1', backup: false, clock, random: Math.random, scratch, userId: undefined }
  await killedAndDamaged()
  const { epoch } = await (await open()).inspect(0)
  await cp(join(dataDir, 'outbox'), join(dataDir, 'later', 'outbox'), { recursive: true })

  const known = await repairQueue({ ...options, dataDir })
  expect(known).toMatchObject({ lost: 1, unsureMax: 0 })
  expect(renderLoss(known)).toBe('1 that had been acknowledged is lost, and the cloud will be told which')
  const told = (await textsOf((await open()).export({}))).map(({ data }) => data)
  expect(told).toContainEqual({ kind: 'undelivered', epoch, ranges: [{ from: 30, to: 30, reason: 'lost' }] })
  expect(told).toContainEqual({ kind: 'epoch-closed', epoch, lastSequence: 30, reason: 'corruption' })

  await rm(join(dataDir, 'outbox'), { recursive: true })
  await rename(join(dataDir, 'later', 'outbox'), join(dataDir, 'outbox'))
  await powerFailed()
  const unknown = await repairQueue({ ...options, dataDir })
  expect(unknown).toMatchObject({ lost: 0, unsureMax: 1, queued: 30 })
  expect(renderLoss(unknown)).toMatch(/none .* is known to be lost; up to 1 more may be/)
})

test('repair does nothing to a queue that is sound: no epoch ends for nothing', async () => {
  await (await filled()).close()
  const options = { dataDir, gateway: 'gw-1', backup: true, clock, random: Math.random, scratch }
  const { epoch } = await (await open()).inspect(0)
  const repair = await repairQueue({ ...options, userId: undefined })
  expect(repair).toEqual({
    needed: false,
    backup: undefined,
    findings: [],
    lost: 0,
    unsureMax: 0,
    queued: 30,
  })
  expect(await readdir(dataDir)).toEqual(['outbox'])
  expect((await (await open()).inspect(0)).epoch).toBe(epoch)
})

test('repair refuses to write what the gateway’s user could not write to after that', async () => {
  await (await filled()).close()
  const { uid } = await stat(dataDir)
  const options = { dataDir, gateway: 'gw-1', backup: true, clock, random: Math.random, scratch }
  await expect(repairQueue({ ...options, userId: uid + 1 })).rejects.toMatchObject({
    code: 'OPTIONS_INVALID',
    hint: expect.stringContaining(`sudo -u '#${uid}'`) as string,
  })
})

test.each(['a queue', 'a damaged queue of which only the mark says so'])(
  'repair refuses %s of a newer version, and does nothing to it (G2)',
  async (name) => {
    await (await filled()).close()
    const place = join(dataDir, 'outbox')
    if (name === 'a queue') await alter(toNewerHead)
    else {
      await alter(async () => [{ type: 'del', key: 'm' }])
      const mark = join(place, 'mark')
      await writeFile(mark, ofLayout(99, await readFile(mark, 'utf8')))
    }
    const options = { gateway: 'gw-1', backup: true, clock, random: Math.random, scratch, userId: undefined }
    const before = await readdir(join(place, 'db'))
    await expect(repairQueue({ ...options, dataDir })).rejects.toMatchObject({ code: 'STORE_NEWER' })
    expect(await readdir(join(place, 'db'))).toEqual(before)
    expect(await readdir(dataDir)).toEqual(['outbox'])
  },
)

test('repair refuses a queue that is at work, and a folder without one', async () => {
  await (await filled()).close()
  await atWork()
  const options = { gateway: 'gw-1', backup: false, clock, random: Math.random, scratch, userId: undefined }
  await expect(repairQueue({ ...options, dataDir })).rejects.toMatchObject({ code: 'OUTBOX_LOCKED' })
  await expect(repairQueue({ ...options, dataDir: join(dataDir, 'none') })).rejects.toMatchObject({
    code: 'OUTBOX_ABSENT',
  })
})
