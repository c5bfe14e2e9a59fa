import { expect, test } from 'vitest'
import type { LedgerEntry } from '../../../src/contract/event.ts'
import { silentOutboxObserver } from '../../../edge/outbox/observer.ts'
import type { Outbox, OutboxStats, Queued, Submission } from '../../../edge/outbox/outbox.ts'
import { parseBlockKey } from '../../../edge/outbox/layout/keys.ts'
import { fillBeforeBlocks } from '../../support/edge/outbox-before-blocks.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'

let lost = 0
const observer = { ...silentOutboxObserver, lost: (count: number) => (lost += count) }

function open(
  disk: SimulatedDisk,
  more: Partial<Parameters<typeof openTestOutbox>[0]> = {},
): Promise<Outbox> {
  return openTestOutbox({ folder: disk, clock: new FakeClock(), random: () => 0.5, observer, ...more })
}

function events(count: number, more: Partial<Submission> = {}): Submission[] {
  return Array.from({ length: count }, (_, index) => submission('a', `e${index}`, more))
}

/** While time goes on: a store that has to be opened again is waited for. */
async function meanwhile<T>(clock: FakeClock, work: Promise<T>): Promise<T> {
  let isOver = false
  const over = (): void => {
    isOver = true
  }
  work.then(over, over)
  await settled()
  // oxlint-disable-next-line no-unmodified-loop-condition -- `over` changes it
  while (!isOver) {
    await clock.advance(1000)
    await settled()
  }
  return await work
}

/** All in one write. */
function append(outbox: Outbox, submissions: readonly Submission[]): Promise<unknown> {
  return Promise.all(submissions.map((one) => outbox.append(one)))
}

function isEmpty({ depth }: OutboxStats): boolean {
  return depth.high + depth.normal === 0
}

async function drain(outbox: Outbox): Promise<Queued[]> {
  const drained: Queued[] = []
  while (!isEmpty(outbox.stats())) {
    const taken = await outbox.take(7)
    drained.push(...taken)
    await outbox.release(taken)
    // Damage was met, or what is missing is looked for.
    if (taken.length === 0) await settled()
  }
  return drained
}

function ids(queued: readonly Queued[]): string[] {
  return queued.filter(({ type }) => type !== 'dev.tidegate.ledger').map(({ id }) => id)
}

test('what has left a block does not come back, and what has not is still there, after a restart and after kill -9 (G3, I4)', async () => {
  const disk = new SimulatedDisk()
  const outbox = await open(disk)
  await append(outbox, events(300))
  const blocks = disk.keysStartingWith('e!n!')
  expect(blocks).toHaveLength(3)
  const taken = await outbox.take(200)
  // Every third stays; the first block is left by all.
  const leaving = taken.filter((_, index) => index < 128 || index % 3 > 0)
  for (let at = 0; at < leaving.length; at += 11)
    await outbox.release(leaving.slice(at, at + 11).toReversed())
  expect(disk.keysStartingWith('e!n!')).toEqual(blocks.slice(1))
  await outbox.close()

  const gone = new Set(leaving.map(({ id }) => id))
  const left = events(300)
    .map(({ candidate: { id } }) => id)
    .filter((id) => !gone.has(id))
  const again = await open(disk)
  expect(again.stats().depth).toEqual({ high: 0, normal: left.length })
  expect(ids(await again.take(1000))).toEqual(left)
  disk.crash({ machineStaysOn: true })
  await again.close()
  const killed = await open(disk)
  expect(ids(await drain(killed))).toEqual(left)
  expect(killed.stats()).toMatchObject({ depth: { high: 0, normal: 0 }, devices: 0 })
  expect(['e!n!', 'r!'].flatMap((prefix) => disk.keysStartingWith(prefix))).toEqual([])
  await killed.close()
})

test('whatever byte of a queue is altered, what is served is what was written, and what is not is named (G1, G2)', async () => {
  const filled = async (): Promise<SimulatedDisk> => {
    const disk = new SimulatedDisk()
    const outbox = await open(disk)
    await append(outbox, [...events(5, { ttlMs: 60_000 }), submission('b', 'alarm', { lane: 'high' })])
    const taken = await outbox.take(4)
    await outbox.release(taken.slice(1, 3))
    await outbox.close()
    return disk
  }
  const whole = await filled()
  const outbox = await open(whole)
  const written = new Map((await drain(outbox)).map(({ id, text }) => [id, text]))
  await outbox.close()
  expect([...written.keys()]).toHaveLength(4)

  const sound = await filled()
  const places = ['e!', 'r!', 'q!', 'd!', 'x!', 'm']
    .flatMap((prefix) => sound.keysStartingWith(prefix))
    .flatMap((key) => Array.from({ length: (sound.get(key) ?? '').length }, (_, at) => ({ key, at })))
  // All of them would take half a minute; the step is no divisor of anything that repeats.
  for (const { key, at } of places.filter((_, index) => index % 7 === 0)) {
    const disk = await filled()
    const value = disk.get(key) ?? ''
    disk.put(
      key,
      `${value.slice(0, at)}${String.fromCharCode(value.charCodeAt(at) ^ 1)}${value.slice(at + 1)}`,
    )
    lost = 0
    const clock = new FakeClock()
    const damaged = await meanwhile(clock, open(disk, { clock }))
    const served = await meanwhile(clock, drain(damaged))
    const named = served.flatMap(({ type, text }): number[] => {
      const { data } = JSON.parse(text) as { data: LedgerEntry }
      if (type !== 'dev.tidegate.ledger' || data.kind !== 'undelivered') return []
      return data.ranges.map(({ from, to }) => to - from + 1)
    })
    const original = served.filter(({ id }) => written.has(id))
    for (const { id, text } of original) expect(text, `${key} at ${at}`).toBe(written.get(id))
    const missing = 4 - new Set(ids(original)).size
    expect(lost, `${key} at ${at}`).toBe(missing)
    expect(
      named.reduce((sum, count) => sum + count, 0),
      `${key} at ${at}`,
    ).toBeGreaterThanOrEqual(missing)
    await damaged.close()
  }
})

test('an altered record of a block is set aside alone (G2)', async () => {
  const disk = new SimulatedDisk()
  const outbox = await open(disk)
  await append(outbox, events(20))
  await outbox.close()
  const [key = ''] = disk.keysStartingWith('e!n!')
  disk.put(key, (disk.get(key) ?? '').replace('"id":"e7"', '"id":"e!"'))
  lost = 0
  const clock = new FakeClock()
  const damaged = await meanwhile(clock, open(disk, { clock }))
  const rest = events(20)
    .map(({ candidate: { id } }) => id)
    .filter((id) => id !== 'e7')
  expect(ids(await meanwhile(clock, drain(damaged)))).toEqual(rest)
  expect(lost).toBe(1)
  expect(disk.keysStartingWith('c!n!')).toHaveLength(1)
  await damaged.close()
})

test('a folder of the layout before blocks drains in order, knows its repeats and its times to live, wherever the power fails in its first start (G1, G4)', async () => {
  const queued = [
    ...events(9),
    submission('a', 'short', { ttlMs: 5000 }),
    submission('b', 'alarm', { lane: 'high' }),
  ]
  const delivered = Array.from({ length: 300 }, (_, index) => submission('b', `sent${index}`))
  let reached = 0
  for (let writes = 0; writes < 20; writes++) {
    const disk = new SimulatedDisk({ survivors: () => 0 })
    await fillBeforeBlocks(disk, queued, delivered)
    let left = writes
    disk.faults.beforeWrite = () => {
      if (left-- > 0) return { fail: false, landed: true }
      disk.crash()
      return { fail: true, landed: false }
    }
    const killed = new AbortController()
    killed.abort()
    await open(disk, { signal: killed.signal }).then(
      (outbox) => outbox.close(),
      () => undefined,
    )
    if (left < 0) reached = writes
    disk.faults = { survivors: () => 0 }
    disk.crash()
    lost = 0

    const clock = new FakeClock()
    const outbox = await open(disk, { clock })
    expect(outbox.stats()).toMatchObject({ depth: { high: 1, normal: 10 }, rememberedIds: 311 })
    for (const one of [...queued, ...delivered.slice(0, 20)])
      expect(await outbox.append(one)).toEqual({ kind: 'duplicate' })
    for (let second = 0; second < 7; second++) await clock.advance(1000)
    await settled()
    await outbox.append(submission('a', 'new'))
    const drained = ids(await drain(outbox))
    expect(drained).toEqual(['alarm', ...events(9).map(({ candidate: { id } }) => id), 'new'])
    expect(lost).toBe(0)
    await outbox.close()
  }
  expect(reached).toBeGreaterThan(2)
})

test('a block that all have left while it was read is not handed out again (G3, I8)', async () => {
  const disk = new SimulatedDisk()
  const clock = new FakeClock()
  const outbox = await open(disk, { clock })
  await append(outbox, [submission('a', 'first', { ttlMs: 5000 }), ...events(9)])
  const taken = await outbox.take(10)
  await outbox.release(taken.slice(1))
  outbox.rewind()
  // LevelDB reads as of the beginning, and what it read may come after a write that began later.
  let goOn!: () => void
  const wrote = new Promise<void>((resolve) => {
    goOn = resolve
  })
  disk.faults.afterRead = () => wrote
  const reading = outbox.take(10)
  await settled()
  disk.faults = {}
  await clock.advance(6000)
  await settled()
  expect(outbox.stats().depth.normal).toBe(0)
  goOn()
  expect(ids(await reading)).toEqual([])
  await outbox.close()
})

test('what expires at once goes in writes of a bounded size, and all of it goes (G7)', async () => {
  const disk = new SimulatedDisk()
  const clock = new FakeClock()
  const outbox = await open(disk, { clock })
  await append(outbox, events(5000, { ttlMs: 5000 }))
  const removals: number[] = []
  disk.faults.landed = (operations) =>
    removals.push(operations.filter(({ type, key }) => type === 'del' && key.startsWith('e!')).length)
  for (let second = 0; second < 20; second++) {
    await clock.advance(1000)
    await settled()
  }
  expect(outbox.stats().depth.normal).toBe(0)
  // Blocks of 128: a thousand events and what the last block holds.
  expect(Math.max(...removals)).toBeLessThanOrEqual(9)
  await outbox.close()
})

test('what is past its time behind more of that in flight than one write takes out goes, and then all is at rest (I8)', async () => {
  const disk = new SimulatedDisk()
  const clock = new FakeClock()
  const outbox = await open(disk, { clock })
  for (let index = 0; index < 1100; index++)
    await outbox.append(submission('a', `flying${index}`, { ttlMs: 5000 }))
  expect(await outbox.take(1100)).toHaveLength(1100)
  for (let index = 0; index < 50; index++) await outbox.append(submission('a', `e${index}`, { ttlMs: 5000 }))
  for (let second = 0; second < 7; second++) {
    await clock.advance(1000)
    await settled()
  }
  expect(outbox.stats().depth.normal).toBe(1100)
  await clock.advance(1000)
  await settled()
  const { writes } = disk
  await settled()
  expect(disk.writes).toBe(writes)
  await outbox.close()
})

test('an altered mark of what has left a block is found on opening: that is sent again, and the counts are right (G2, G3)', async () => {
  const disk = new SimulatedDisk()
  const outbox = await open(disk)
  await append(outbox, events(10))
  await outbox.release(await outbox.take(4))
  await outbox.close()
  const [key = ''] = disk.keysStartingWith('r!n!')
  disk.put(key, '0\t1111111111')
  lost = 0
  const again = await open(disk)
  expect(ids(await drain(again))).toEqual(events(10).map(({ candidate: { id } }) => id))
  expect(again.stats()).toMatchObject({ depth: { high: 0, normal: 0 }, devices: 0 })
  expect([lost, disk.keysStartingWith('r!')]).toEqual([0, []])
  await again.close()
})

test('a key that was altered is damage, and no position', () => {
  expect(parseBlockKey('e!n!0000000000000042')).toEqual({ lane: 'normal', last: 42 })
  for (const key of ['e!n!00000000000000:2', 'e!n!000000000000004', 'e!x!0000000000000042'])
    expect(() => parseBlockKey(key)).toThrow(/is none that was written/)
})
