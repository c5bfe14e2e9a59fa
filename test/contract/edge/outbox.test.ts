import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Outbox, Queued, Submission } from '../../../edge/outbox/outbox.ts'
import type { OutboxOptions } from '../../../edge/outbox/options.ts'
import type { StoreFolder } from '../../../edge/store/store.ts'
import { levelFolder } from '../../../edge/store/store-level.ts'
import { genesis, verifyChain } from '../../../src/contract/codec.ts'
import { systemClock } from '../../../src/clock.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { candidate, submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const folders: Record<string, () => Promise<StoreFolder>> = {
  'on LevelDB': async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidegate-outbox-'))
    closers.push(() => rm(folder, { recursive: true, force: true }))
    return levelFolder({ folder, reserveBytes: 1 << 16, clock: systemClock })
  },
  'on a simulated disk': async () => new SimulatedDisk(),
}

describe.each(Object.entries(folders))('an outbox %s', (_, makeFolder) => {
  let folder: StoreFolder
  let clock: FakeClock
  beforeEach(() => {
    clock = new FakeClock()
  })

  /** Lets time pass second by second, each second's housekeeping done before the next begins. */
  async function pass(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      await clock.advance(1000)
      while (clock.waiting === 0) await settled()
    }
  }

  async function open(options: Partial<OutboxOptions> = {}): Promise<Outbox> {
    folder = options.folder ?? (await makeFolder())
    const outbox = await openTestOutbox({
      folder,
      clock,
      ...options,
    })
    closers.push(() => outbox.close())
    return outbox
  }

  test('numbers what it accepts from 1, without a gap, in order (G2)', async () => {
    const outbox = await open()
    const admissions = await Promise.all(
      Array.from({ length: 50 }, (_, index) => outbox.append(submission('a', `e${index}`))),
    )
    expect(admissions).toEqual(admissions.map((_, index) => ({ kind: 'accepted', sequence: index + 1 })))
    const drained = await drain(outbox)
    expect(drained.map(({ sequence }) => sequence)).toEqual(admissions.map((_, index) => index + 1))
    expect(outbox.stats().depth).toEqual({ high: 0, normal: 0 })
  })

  test('chains every event to the one before it (G2)', async () => {
    const outbox = await open()
    for (const id of ['x', 'y', 'z']) await outbox.append(submission('a', id))
    let chain = genesis('gw-1', outbox.stats().epoch)
    for (const { text } of await drain(outbox)) {
      expect(verifyChain(text, chain)).toBe(true)
      chain = (JSON.parse(text) as { chain: string }).chain
    }
  })

  test('accepts an ID once, within a batch and across a restart (G4)', async () => {
    const outbox = await open()
    const both = await Promise.all([
      outbox.append(submission('a', 'same')),
      outbox.append(submission('a', 'same')),
    ])
    expect(both.map(({ kind }) => kind)).toEqual(['accepted', 'duplicate'])
    await drain(outbox)
    await outbox.close()
    const again = await open({ folder })
    expect(await again.append(submission('a', 'same'))).toEqual({ kind: 'duplicate' })
    expect(await again.append(submission('b', 'same'))).toMatchObject({ kind: 'accepted', sequence: 2 })
  })

  test('keeps what was not released across a restart, under the same epoch (G1, I1)', async () => {
    const outbox = await open()
    for (let index = 0; index < 10; index++) await outbox.append(submission('a', `e${index}`))
    const taken = await outbox.take(4)
    await outbox.release(taken.slice(0, 2))
    const { epoch } = outbox.stats()
    await outbox.close()
    const again = await open({ folder })
    expect(again.stats()).toMatchObject({ epoch, lastSequence: 10, depth: { high: 0, normal: 8 } })
    expect((await drain(again)).map(({ sequence }) => sequence)).toEqual([3, 4, 5, 6, 7, 8, 9, 10])
  })

  test('gives back after a rewind exactly what was taken and not released (G3, I4)', async () => {
    const outbox = await open()
    for (let index = 0; index < 10; index++) await outbox.append(submission('a', `e${index}`))
    const taken = await outbox.take(6)
    await outbox.release(taken.filter(({ sequence }) => sequence % 2 === 0))
    outbox.rewind()
    expect((await drain(outbox)).map(({ sequence }) => sequence)).toEqual([1, 3, 5, 7, 8, 9, 10])
  })

  test('sends the high lane first and new events before the backlog, which never starves', async () => {
    const outbox = await open({ lanes: { inOrderBelow: 10, backlogShareMin: 0.25 } })
    for (let index = 0; index < 100; index++) await outbox.append(submission('a', `old${index}`))
    outbox.resumed()
    for (let index = 0; index < 100; index++) await outbox.append(submission('a', `new${index}`))
    await outbox.append(submission('a', 'alarm', { lane: 'high' }))
    const ids = (await outbox.take(41)).map(({ id }) => id)
    expect(ids[0]).toBe('alarm')
    expect(ids.filter((id) => id.startsWith('new'))).toHaveLength(30)
    expect(ids.filter((id) => id.startsWith('old'))).toHaveLength(10)
  })

  test('drains the backlog no faster than its pace', async () => {
    const outbox = await open({ lanes: { inOrderBelow: 0, eventsPerSecond: 10 } })
    for (let index = 0; index < 50; index++) await outbox.append(submission('a', `old${index}`))
    outbox.resumed()
    expect(await outbox.take(50)).toHaveLength(10)
    expect(await outbox.take(50)).toHaveLength(0)
    await pass(1)
    expect(await outbox.take(50)).toHaveLength(10)
  })

  test('drains the backlog no faster than its pace in bytes, by one event at most (G7)', async () => {
    const outbox = await open({ lanes: { inOrderBelow: 0, bytesPerSecond: 5000 } })
    await appendMany(outbox, 60, 'old')
    outbox.resumed()
    const eventBytesMax = outbox.stats().bytes.normal / 60 + 10
    let bytes = 0
    for (let second = 0; second < 4; second++) {
      if (second > 0) await pass(1)
      for (let turn = 0; turn < 3; turn++) {
        for (const { text } of await outbox.take(50)) bytes += Buffer.byteLength(text)
      }
      expect(bytes).toBeGreaterThan(5000 * (second + 1))
      expect(bytes).toBeLessThan(5000 * (second + 1) + eventBytesMax)
    }
  })

  test('withholds its answer at a bound and gives it when there is room (G7)', async () => {
    const outbox = await open({ quota: { eventsMax: 4, deviceShare: 1 } })
    for (let index = 0; index < 4; index++) await outbox.append(submission('a', `e${index}`))
    let answered = false
    const waiting = outbox.append(submission('a', 'late')).then((admission) => {
      answered = true
      return admission
    })
    expect(await outbox.append(submission('a', 'unsure', { qos: 0 }))).toMatchObject({ kind: 'shed' })
    expect(answered).toBe(false)
    expect(outbox.stats()).toMatchObject({ waiting: 1, refusing: 'events' })
    await outbox.release(await outbox.take(1))
    expect(await waiting).toMatchObject({ kind: 'accepted', sequence: 5 })
  })

  test('lets no device wait for room that another has filled (G7)', async () => {
    const outbox = await open({ quota: { eventsMax: 10, deviceShare: 0.5 } })
    for (let index = 0; index < 5; index++) await outbox.append(submission('noisy', `e${index}`))
    const noisy = outbox.append(submission('noisy', 'more'))
    expect(await outbox.append(submission('quiet', 'e'))).toMatchObject({ kind: 'accepted' })
    expect(outbox.stats().waiting).toBe(1)
    await drain(outbox)
    expect(await noisy).toMatchObject({ kind: 'accepted' })
  })

  test('holds a device to its share of the bytes, however few its events (G7)', async () => {
    const outbox = await open({ quota: { eventsMax: 1000, bytesMax: 10_000, deviceShare: 0.5 } })
    const data = { noise: 'x'.repeat(2000) }
    const large = (id: string): Submission =>
      submission('noisy', id, { candidate: candidate('noisy', id, data) })
    await outbox.append(large('e0'))
    await outbox.append(large('e1'))
    const noisy = outbox.append(large('e2'))
    expect(await outbox.append(submission('quiet', 'e'))).toMatchObject({ kind: 'accepted' })
    expect(outbox.stats()).toMatchObject({ waiting: 1, refusing: 'device-share' })
    await drain(outbox)
    expect(await noisy).toMatchObject({ kind: 'accepted' })
  })

  test('a device that has little finds room when others have filled the rest, also after a restart (G7)', async () => {
    const quota = { eventsMax: 40, deviceShare: 0.5, deviceMinimum: 0.05, reservedShare: 0.1 }
    const outbox = await open({ quota })
    const answers = new Map<string, number>()
    const offer = (to: Outbox, device: string, count: number): void => {
      const submissions = Array.from({ length: count }, (_, index) => submission(device, `${device}${index}`))
      const answered = (admissions: readonly unknown[]): void =>
        void answers.set(device, (answers.get(device) ?? 0) + admissions.length)
      to.appendAll(submissions, answered).catch(() => {})
    }
    offer(outbox, 'noisy', 60)
    offer(outbox, 'noisier', 60)
    await outbox.append(submission('new', 'e'))
    offer(outbox, 'new', 3)
    offer(outbox, 'newer', 3)
    await pass(1)
    // Half, what is left of the rest, and the minimum of two more: all of it.
    expect([...answers]).toEqual([
      ['noisy', 20],
      ['noisier', 16],
      ['new', 1],
      ['newer', 2],
    ])
    await outbox.release(await outbox.take(1))
    await outbox.close()
    const again = await open({ folder, quota })
    const late = again.append(submission('noisier', 'late'))
    expect(await again.append(submission('newest', 'e'))).toMatchObject({ kind: 'accepted' })
    expect(again.stats()).toMatchObject({ waiting: 1, depth: { normal: 40 } })
    await drain(again)
    expect(await late).toMatchObject({ kind: 'accepted' })
  })

  test('a device at its own share waits and makes no room at the cost of others (G7)', async () => {
    const outbox = await open({ quota: { eventsMax: 100, deviceShare: 0.5, full: 'evict' } })
    for (let index = 0; index < 45; index++) await outbox.append(submission('quiet', `q${index}`))
    for (let index = 0; index < 50; index++) await outbox.append(submission('noisy', `n${index}`))
    const waits = outbox.append(submission('noisy', 'over'))
    await pass(1)
    expect(outbox.stats()).toMatchObject({ waiting: 1, depth: { normal: 95 } })
    const drained = await drain(outbox)
    expect(drained.filter(({ deviceId }) => deviceId === 'quiet')).toHaveLength(45)
    expect(await waits).toMatchObject({ kind: 'accepted' })
  })

  test('what is high goes first, and leaves the normal lane a fifth of what leaves (G7)', async () => {
    const outbox = await open({ lanes: { inOrderBelow: 0 } })
    for (let index = 0; index < 20; index++) await outbox.append(submission('b', `n${index}`))
    for (let index = 0; index < 60; index++)
      await outbox.append(submission('a', `h${index}`, { lane: 'high' }))
    const lanes = async (takes: number, events: number): Promise<string> => {
      let seen = ''
      for (let turn = 0; turn < takes; turn++)
        for (const { lane } of await outbox.take(events)) seen += lane === 'high' ? 'h' : 'n'
      return seen
    }
    expect(await lanes(10, 1)).toBe('hhhhnhhhhn')
    expect(await lanes(2, 10)).toBe('hhhhhhhhnnhhhhhhhhnn')
    outbox.resumed()
    // Of the backlog as well.
    expect(await lanes(1, 10)).toBe('hhhhhhhhnn')
    expect(await lanes(1, 60)).toBe(`${'h'.repeat(28)}${'n'.repeat(12)}`)
  })

  test('of a normal lane that leaves one by one the backlog has a fifth, however much is high (G7)', async () => {
    const outbox = await open({ lanes: { inOrderBelow: 0 } })
    for (let index = 0; index < 20; index++) await outbox.append(submission('b', `backlog${index}`))
    outbox.resumed()
    for (let index = 0; index < 20; index++) await outbox.append(submission('b', `live${index}`))
    for (let index = 0; index < 100; index++)
      await outbox.append(submission('a', `h${index}`, { lane: 'high' }))
    const normal: string[] = []
    for (let turn = 0; turn < 50; turn++)
      for (const { id, lane } of await outbox.take(1)) if (lane === 'normal') normal.push(id)
    expect(normal.map((id) => (id.startsWith('live') ? 'l' : 'b')).join('')).toBe('llllbllllb')
  })

  test('sheds QoS 0 at its part of the bound, where QoS 1 does not wait yet (G7)', async () => {
    const outbox = await open({ quota: { eventsMax: 100, deviceShare: 1, reservedShare: 0 } })
    await appendMany(outbox, 94, 'e')
    expect(await outbox.append(submission('b', 'last', { qos: 0 }))).toMatchObject({ kind: 'accepted' })
    expect(await outbox.append(submission('b', 'shed', { qos: 0 }))).toEqual({
      kind: 'shed',
      reason: 'events',
    })
    for (let index = 95; index < 100; index++)
      expect(await outbox.append(submission('a', `e${index}`))).toMatchObject({ kind: 'accepted' })
    expect(outbox.stats()).toMatchObject({ depth: { normal: 100 }, waiting: 0 })
  })

  test('forgets a submission whose device went away while it waited', async () => {
    const outbox = await open({ quota: { eventsMax: 1 } })
    await outbox.append(submission('a', 'first'))
    const gone = new AbortController()
    const waiting = outbox.append(submission('a', 'second'), gone.signal)
    await outbox.append(submission('a', 'probe', { qos: 0 }))
    gone.abort()
    await expect(waiting).rejects.toThrow('abort')
    await drain(outbox)
    expect(outbox.stats()).toMatchObject({ lastSequence: 1, waiting: 0 })
  })

  test('evicts the oldest of the lowest lane and reports each to the cloud with its chain (G2, I5)', async () => {
    const outbox = await open({
      quota: { eventsMax: 300, deviceShare: 1, reservedShare: 0, full: 'evict' },
      reportIntervalMs: 0,
    })
    await outbox.append(submission('a', 'alarm', { lane: 'high' }))
    for (let index = 0; index < 300; index++) await outbox.append(submission('a', `e${index}`))
    await pass(1)
    const drained = await drain(outbox)
    const report = drained.find(({ type }) => type === 'dev.tidegate.ledger')
    expect(JSON.parse(report?.text ?? '{}')).toMatchObject({
      data: {
        kind: 'undelivered',
        ranges: [{ from: 2, to: 101, reason: 'evicted', chain: expect.stringMatching(/^.{43}$/) as string }],
      },
    })
    expect(drained.some(({ id }) => id === 'alarm')).toBe(true)
    expect(drained.filter(({ type }) => type === 'com.acme.climate')).toHaveLength(201)
    expect(outbox.stats().depth).toEqual({ high: 0, normal: 0 })
  })

  test.for(['a', 'b'])(
    'is not held up by an event of %s that is past its time where the oldest of a make room',
    async (device) => {
      const quota = { eventsMax: 300, deviceShare: 1, reservedShare: 0, full: 'evict' } as const
      const outbox = await open({ quota })
      await appendMany(outbox, 300, 'e')
      const past = outbox.append(submission(device, 'past', { ttlMs: 0 }))
      const next = outbox.append(submission('a', 'next'))
      expect(await past).toMatchObject({ kind: 'accepted' })
      expect(await next).toMatchObject({ kind: 'accepted' })
      expect(outbox.stats().waiting).toBe(0)
    },
  )

  test('sheds QoS 0 at a bound rather than evict what was acknowledged', async () => {
    const outbox = await open({ quota: { eventsMax: 50, deviceShare: 1, reservedShare: 0, full: 'evict' } })
    for (let index = 0; index < 50; index++) await outbox.append(submission('a', `e${index}`))
    expect(await outbox.append(submission('b', 'unpromised', { qos: 0 }))).toMatchObject({ kind: 'shed' })
    expect(outbox.stats().depth.normal).toBe(50)
  })

  test('drains at a pace below one event a second, too', async () => {
    const outbox = await open({ lanes: { inOrderBelow: 0, eventsPerSecond: 0.5 } })
    for (let index = 0; index < 5; index++) await outbox.append(submission('a', `old${index}`))
    outbox.resumed()
    let taken = 0
    for (let second = 0; second < 8; second++) {
      await pass(1)
      taken += (await outbox.take(5)).length
    }
    expect(taken).toBe(4)
  })

  test('expires by its own clock, and not because the wall clock jumped (G2)', async () => {
    const outbox = await open({ reportIntervalMs: 0 })
    await outbox.append(submission('a', 'short', { ttlMs: 60_000 }))
    await outbox.append(submission('a', 'long'))
    clock.jump(365 * 86_400_000)
    await pass(2)
    expect(outbox.stats().depth.normal).toBe(2)
    clock.jump(-365 * 86_400_000)
    await pass(60)
    expect(outbox.stats().depth.normal).toBe(1)
    const reports = (await drain(outbox))
      .filter(({ type }) => type === 'dev.tidegate.ledger')
      .map(({ text }) => (JSON.parse(text) as { data: unknown }).data)
    expect(reports).toContainEqual(
      expect.objectContaining({ kind: 'clock-corrected', from: 1, to: 2, offsetMs: 365 * 86_400_000 }),
    )
    expect(reports).toContainEqual(
      expect.objectContaining({
        kind: 'undelivered',
        ranges: [expect.objectContaining({ from: 1, to: 1, reason: 'expired' })],
      }),
    )
  })

  test('expires what stands behind more events in flight than one write takes out', async () => {
    const outbox = await open({ reportIntervalMs: 1e9 })
    await appendMany(outbox, 1100, 'sent', { ttlMs: 5000 })
    expect(await outbox.take(1100)).toHaveLength(1100)
    await appendMany(outbox, 1100, 'late', { ttlMs: 5000 })
    await pass(7)
    expect(outbox.stats().depth.normal).toBe(1100)
    outbox.rewind()
    await pass(2)
    expect(outbox.stats().depth.normal).toBe(0)
  })

  test('expires in the write that accepts it what has no time left (G2, I5)', async () => {
    const outbox = await open({ reportIntervalMs: 0 })
    await outbox.append(submission('a', 'first'))
    expect(await outbox.append(submission('a', 'past', { ttlMs: 0 }))).toEqual({
      kind: 'accepted',
      sequence: 2,
    })
    expect((await outbox.take(10)).map(({ id }) => id)).toEqual(['first'])
    expect(outbox.stats().depth.normal).toBe(1)
    await pass(1)
    const [report] = await outbox.take(10)
    expect(JSON.parse(report?.text ?? '{}')).toMatchObject({
      data: {
        kind: 'undelivered',
        ranges: [{ from: 2, to: 2, reason: 'expired', chain: expect.stringMatching(/^.{43}$/) as string }],
      },
    })
  })

  test('counts time spent powered off once the clock has settled, and only then', async () => {
    const outbox = await open()
    await outbox.append(submission('a', 'short', { ttlMs: 3_600_000 }))
    await outbox.close()
    clock.jump(7_200_000)
    const again = await open({ folder, clockSettleMs: 30_000 })
    await pass(20)
    expect(again.stats().depth.normal).toBe(1)
    await pass(20)
    expect(again.stats().depth.normal).toBe(0)
    clock.jump(-7_200_000)
  })

  test('forgets IDs by generation and keeps at least seven eighths of the window', async () => {
    const outbox = await open({ dedup: { ageMs: 1e9, count: 80 } })
    for (let index = 0; index < 400; index++) await outbox.append(submission('a', `e${index}`))
    await pass(1)
    expect(outbox.stats().rememberedIds).toBeGreaterThanOrEqual(70)
    expect(outbox.stats().rememberedIds).toBeLessThanOrEqual(80)
    expect(await outbox.append(submission('a', 'e399'))).toEqual({ kind: 'duplicate' })
    expect(await outbox.append(submission('a', 'e331'))).toEqual({ kind: 'duplicate' })
    expect(await outbox.append(submission('a', 'e0'))).toMatchObject({ kind: 'accepted' })
  })

  test('begins a new epoch under a new gateway name and still delivers the old', async () => {
    const outbox = await open()
    await outbox.append(submission('a', 'old'))
    await outbox.close()
    const renamed = await open({ folder, gateway: 'gw-2' })
    await renamed.append(submission('a', 'new'))
    const drained = (await drain(renamed)).map(({ text }) => JSON.parse(text) as Record<string, unknown>)
    expect(drained.find(({ id }) => id === 'old')).toMatchObject({ gateway: 'gw-1', sequence: 1 })
    expect(drained.find(({ id }) => id === 'new')).toMatchObject({ gateway: 'gw-2', sequence: 2 })
    expect(drained.find(({ type }) => type === 'dev.tidegate.ledger')).toMatchObject({
      sequence: 1,
      data: { kind: 'epoch-closed', lastSequence: 1 },
    })
  })

  test('answers nothing after close, and closes as often as asked', async () => {
    const outbox = await open()
    const append = outbox.append(submission('a', 'e'))
    await Promise.all([outbox.close(), outbox.close()])
    expect(await append).toMatchObject({ kind: 'accepted' })
    await expect(outbox.append(submission('a', 'f'))).rejects.toMatchObject({ code: 'OUTBOX_CLOSED' })
  })
})

async function appendMany(
  outbox: Outbox,
  count: number,
  prefix: string,
  more: Partial<Submission> = {},
): Promise<void> {
  const ids = Array.from({ length: count }, (_, index) => `${prefix}${index}`)
  await Promise.all(ids.map((id) => outbox.append(submission('a', id, more))))
}

async function drain(outbox: Outbox): Promise<Queued[]> {
  const drained: Queued[] = []
  for (;;) {
    const events = await outbox.take(100)
    if (events.length === 0) return drained
    drained.push(...events)
    await outbox.release(events)
  }
}
