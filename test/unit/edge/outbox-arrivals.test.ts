import { expect, test } from 'vitest'
import type { Admission, Outbox, Submission } from '../../../edge/outbox/outbox.ts'
import { silentOutboxObserver } from '../../../edge/outbox/observer.ts'
import { codeOf } from '../../../src/errors.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'

type Options = Partial<Parameters<typeof openTestOutbox>[0]>

function open(more: Options = {}): Promise<Outbox> {
  const folder = new SimulatedDisk()
  return openTestOutbox({ folder, clock: new FakeClock(), random: () => 0.5, ...more })
}

const events = (...ids: string[]): Submission[] => ids.map((id) => submission('a', id))

/** What each call was told. */
function listening(): { calls: string[][]; answered: (admissions: readonly Admission[]) => void } {
  const calls: string[][] = []
  const answered = (admissions: readonly Admission[]): void =>
    void calls.push(
      admissions.map((one) => (one.kind === 'accepted' ? `accepted ${one.sequence}` : one.kind)),
    )
  return { calls, answered }
}

test('submissions that arrive together are made durable in one write and answered in one call (G1)', async () => {
  const disk = new SimulatedDisk()
  const outbox = await open({ folder: disk })
  const before = disk.writes
  const { calls, answered } = listening()
  await outbox.appendAll(events('x', 'y', 'x', 'z'), answered)
  expect(calls).toEqual([['accepted 1', 'accepted 2', 'duplicate', 'accepted 3']])
  expect(disk.writes).toBe(before + 1)
  expect(outbox.stats().waiting).toBe(0)
  await outbox.close()
})

test('nobody is answered before the write has landed (G1)', async () => {
  let land: (() => void) | undefined
  const disk = new SimulatedDisk()
  const outbox = await open({ folder: disk })
  disk.faults.pause = (what) =>
    what === 'write' ? new Promise((resolve) => (land = resolve)) : Promise.resolve()
  const { calls, answered } = listening()
  const over = outbox.appendAll(events('x', 'y'), answered)
  await settled()
  expect(outbox.stats().waiting).toBe(2)
  expect(calls).toEqual([])
  delete disk.faults.pause
  land?.()
  await over
  expect(calls).toEqual([['accepted 1', 'accepted 2']])
  await outbox.close()
})

test('those that fit are answered, those behind them when there is room (G7)', async () => {
  const outbox = await open({
    quota: { eventsMax: 2, bytesMax: 1e9, deviceShare: 1, full: 'refuse', diskFreeBytesMin: 0 },
  })
  const { calls, answered } = listening()
  const over = outbox.appendAll(events('x', 'y', 'z'), answered)
  await settled()
  expect(calls).toEqual([['accepted 1', 'accepted 2']])
  expect(outbox.stats().waiting).toBe(1)
  await outbox.release((await outbox.take(1)).slice(0, 1))
  await outbox.appendAll(events('x'), () => {})
  await over
  expect(calls).toEqual([['accepted 1', 'accepted 2'], ['accepted 3']])
  await outbox.close()
})

test('a caller who is gone while some wait for room is told so, and what fitted stays', async () => {
  const outbox = await open({
    quota: { eventsMax: 2, bytesMax: 1e9, deviceShare: 1, full: 'refuse', diskFreeBytesMin: 0 },
  })
  const { calls, answered } = listening()
  const gone = new AbortController()
  const over = outbox.appendAll(events('x', 'y', 'z', 'z2'), answered, gone.signal)
  await settled()
  gone.abort()
  await expect(over).rejects.toMatchObject({ name: 'AbortError' })
  expect(calls).toEqual([['accepted 1', 'accepted 2']])
  expect(outbox.stats()).toMatchObject({ waiting: 0, depth: { normal: 2 } })
  await outbox.close()
})

test('one that is given up while the write that takes it is under way has one fate, and counts once (G7)', async () => {
  let land: (() => void) | undefined
  const disk = new SimulatedDisk()
  const outbox = await open({
    folder: disk,
    quota: { eventsMax: 1, bytesMax: 1e9, deviceShare: 1, full: 'refuse', diskFreeBytesMin: 0 },
  })
  await outbox.appendAll(events('x'), () => {})
  const gone = new AbortController()
  const over = outbox.appendAll(events('y'), () => {}, gone.signal)
  const failure = over.catch((error: unknown) => error)
  await settled()
  expect(outbox.stats().waiting).toBe(1)
  disk.faults.pause = (what) =>
    what === 'write' ? new Promise((resolve) => (land = resolve)) : Promise.resolve()
  const released = outbox.release(await outbox.take(1))
  await settled()
  gone.abort()
  delete disk.faults.pause
  land?.()
  await released
  expect(await failure).toMatchObject({ name: 'AbortError' })
  expect(outbox.stats()).toMatchObject({ waiting: 0, depth: { normal: 1 } })
  await outbox.close()
})

test('nothing at all is answered at once', async () => {
  const outbox = await open()
  await outbox.appendAll([], () => {})
  expect(outbox.stats()).toMatchObject({ waiting: 0, stuckMs: 0 })
  await outbox.close()
})

test('what does not fit in the line is shed at QoS 0 and given up at QoS 1, and what stands before it is answered', async () => {
  const counted: string[] = []
  const observer = {
    ...silentOutboxObserver,
    admitted: (result: string, count: number) => void counted.push(`${result} ${count}`),
    refused: (reason: string, count: number) => void counted.push(`${reason} ${count}`),
  }
  const outbox = await open({ waitingMax: 2, observer })
  const shed = listening()
  await outbox.appendAll([...events('x', 'y'), submission('a', 'z', { qos: 0 })], shed.answered)
  expect(shed.calls).toEqual([['accepted 1', 'accepted 2', 'shed']])
  const busy = listening()
  const over = outbox.appendAll(events('p', 'q', 'r'), busy.answered)
  await expect(over.catch(codeOf)).resolves.toBe('OUTBOX_BUSY')
  expect(busy.calls).toEqual([['accepted 3', 'accepted 4']])
  expect(outbox.stats()).toMatchObject({ waiting: 0, depth: { normal: 4 } })
  expect(counted).toContain('accepted 2')
  await outbox.close()
})

test('the last part of the line is for devices of which none waits yet (G7)', async () => {
  const outbox = await open({
    quota: { eventsMax: 1, deviceShare: 1, reservedShare: 0.1 },
    waitingMax: 20,
  })
  await outbox.appendAll(events('first'), () => {})
  const waits = (device: string, count: number): Promise<unknown> => {
    const all = Array.from({ length: count }, (_, index) => submission(device, `${device}${index}`))
    return outbox.appendAll(all, () => {}).catch(codeOf)
  }
  const some = waits('a', 18)
  await settled()
  expect(await waits('a', 1)).toBe('OUTBOX_BUSY')
  const others = [waits('b', 1), waits('c', 1)]
  await settled()
  expect(outbox.stats().waiting).toBe(20)
  expect(await waits('d', 1)).toBe('OUTBOX_BUSY')
  await outbox.close()
  expect(await Promise.all([some, ...others])).toEqual(['OUTBOX_CLOSED', 'OUTBOX_CLOSED', 'OUTBOX_CLOSED'])
})

test('more than one write takes are made durable in several, in their order, and answered as they are', async () => {
  const disk = new SimulatedDisk()
  const outbox = await open({ folder: disk, batchEventsMax: 3 })
  const { calls, answered } = listening()
  await outbox.appendAll(events('a', 'b', 'c', 'd', 'e'), answered)
  expect(calls).toEqual([
    ['accepted 1', 'accepted 2', 'accepted 3'],
    ['accepted 4', 'accepted 5'],
  ])
  expect((await outbox.take(10)).map(({ id }) => id)).toEqual(['a', 'b', 'c', 'd', 'e'])
  await outbox.close()
})

test('an outbox that is closed gives up what arrives, and nothing of it is counted as waiting', async () => {
  const outbox = await open()
  await outbox.close()
  await expect(outbox.appendAll(events('x'), () => {}).catch(codeOf)).resolves.toBe('OUTBOX_CLOSED')
  expect(outbox.stats().waiting).toBe(0)
})
