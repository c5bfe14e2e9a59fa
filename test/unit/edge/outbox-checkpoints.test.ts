import { afterEach, beforeEach, expect, test } from 'vitest'
import type { CheckpointSigner, OutboxOptions } from '../../../edge/outbox/options.ts'
import type { Outbox } from '../../../edge/outbox/outbox.ts'
import {
  type Checkpoint,
  checkpointType,
  readCheckpoint,
  verifyCheckpoint,
} from '../../../src/contract/checkpoint.ts'
import { decodeEvent } from '../../../src/contract/codec.ts'
import { submission } from '../../support/edge/outbox-events.ts'
import { type TestSigner, testSigner } from '../../support/fakes/signer.ts'
import { openTestOutbox } from '../../support/edge/test-outbox.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { SimulatedDisk } from '../../support/fakes/simulated-disk.ts'

const signer = testSigner(1)
let clock: FakeClock
let disk: SimulatedDisk
let outbox: Outbox

beforeEach(async () => {
  clock = new FakeClock()
  disk = new SimulatedDisk()
  outbox = await open()
})
afterEach(() => outbox.close())

function open(
  checkpoints: CheckpointSigner = signer,
  gateway = 'gw-1',
  quota?: OutboxOptions['quota'],
): Promise<Outbox> {
  const options = { folder: disk, clock, random: Math.random, checkpoints, gateway }
  return openTestOutbox({ ...options, ...(quota && { quota }) })
}

async function append(...ids: string[]): Promise<void> {
  await Promise.all(ids.map((id) => outbox.append(submission('a', id))))
  await settled()
}

interface Found extends Checkpoint {
  at: number
  isTrue: boolean
}

/** Every checkpoint that is queued, and whether it says the truth of what is queued with it. */
async function checkpoints({ publicKey }: TestSigner = signer): Promise<Found[]> {
  outbox.rewind()
  const events = (await outbox.take(1000)).map(({ text }) => decodeEvent(text))
  const chains = new Map(events.map(({ epoch, sequence, chain }) => [`${epoch} ${sequence}`, chain]))
  return events
    .filter(({ type }) => type === checkpointType)
    .toSorted((a, b) => (a.epoch === b.epoch ? a.sequence - b.sequence : a.epoch < b.epoch ? -1 : 1))
    .map(({ data, gateway, sequence: at }) => {
      const checkpoint = readCheckpoint(data) as Checkpoint
      const isOfChain = chains.get(`${checkpoint.epoch} ${checkpoint.sequence}`) === checkpoint.chain
      return { ...checkpoint, at, isTrue: isOfChain && verifyCheckpoint(gateway, checkpoint, publicKey) }
    })
}

test('the first event of an epoch is signed at once, further ones after so many or so long (G8)', async () => {
  await append('e1')
  expect(await checkpoints()).toMatchObject([{ sequence: 1, at: 2, isTrue: true, key: signer.key }])
  await append('e2', 'e3', 'e4', 'e5')
  expect(await checkpoints()).toHaveLength(1)
  expect(outbox.stats().unsigned).toMatchObject({ events: 4 })
  await append('e6')
  expect(await checkpoints()).toMatchObject([{}, { sequence: 7, at: 8, isTrue: true }])
  await append('e7')
  await clock.advance(59_000)
  expect(await checkpoints()).toHaveLength(2)
  await clock.advance(2_000)
  expect(await checkpoints()).toMatchObject([{}, {}, { sequence: 9, at: 10, isTrue: true }])
  expect(outbox.stats().unsigned).toEqual({ events: 0, ageMs: 0 })
})

test('an idle gateway does not sign its own signatures (G8)', async () => {
  await append('e1')
  await clock.advance(600_000)
  expect(await checkpoints()).toHaveLength(1)
  await outbox.close()
  outbox = await open()
  await clock.advance(600_000)
  expect(outbox.stats().lastSequence).toBe(2)
})

test('a stop in order signs what is left, in its last write (G8)', async () => {
  await append('e1', 'e2', 'e3')
  await append('e4', 'e5')
  await outbox.close()
  outbox = await open()
  const found = await checkpoints()
  expect(found.at(-1)).toMatchObject({ sequence: outbox.stats().lastSequence - 1, isTrue: true })
  expect(outbox.stats().unsigned).toMatchObject({ events: 0 })
})

test('another key signs at once, and names the one before it (G8)', async () => {
  await append('e1')
  await outbox.close()
  const second = testSigner(2)
  outbox = await open(second)
  await settled()
  expect((await checkpoints(second)).at(-1)).toMatchObject({
    sequence: 2,
    at: 3,
    key: second.key,
    formerKey: signer.key,
    isTrue: true,
  })
  await append('e2', 'e3', 'e4', 'e5', 'e6')
  const last = (await checkpoints(second)).at(-1)
  expect(last).toMatchObject({ at: 9, key: second.key, isTrue: true })
  expect(last?.formerKey).toBeUndefined()
})

test('an epoch that begins with another name is signed at once, with that name (G8)', async () => {
  await append('e1')
  await outbox.close()
  outbox = await open(signer, 'gw-2')
  await settled()
  expect((await checkpoints()).map(({ sequence, at, isTrue }) => ({ sequence, at, isTrue }))).toEqual([
    { sequence: 1, at: 2, isTrue: true },
    { sequence: 1, at: 2, isTrue: true },
  ])
})

test('what makes room is never the newest signature, without which no report of a loss is believed (G8)', async () => {
  await outbox.close()
  let isAway = false
  const flaky: CheckpointSigner = {
    ...signer,
    sign: (...what) => (isAway ? Promise.reject(new Error('no key')) : signer.sign(...what)),
  }
  outbox = await open(flaky, 'gw-1', { deviceShare: 1, eventsMax: 20, full: 'evict' })
  const alarms = async (count: number, from: number): Promise<void> => {
    // Nobody has any of it in hand.
    outbox.rewind()
    const all = Array.from({ length: count }, (_, at) =>
      outbox.append(submission('a', `a${from + at}`, { lane: 'high' })),
    )
    // What nothing makes room for at once is tried again with the housekeeping.
    await clock.advance(2000)
    await Promise.all(all)
  }
  await alarms(3, 0)
  const newest = (await checkpoints()).at(-1)?.at
  isAway = true
  await alarms(20, 3)
  expect(outbox.stats().depth.high).toBeLessThan(24)
  expect((await checkpoints()).map(({ at }) => at)).toEqual([newest])
  isAway = false
  await clock.advance(61_000)
  // It is superseded by now, and makes room like any event.
  await alarms(20, 23)
  expect((await checkpoints()).map(({ at }) => at)).not.toContain(newest)
  expect(await checkpoints()).not.toEqual([])
})

test('nothing waits for the signing, and it signs what was on the disk when it began (G1, G8)', async () => {
  let signNow: (() => void) | undefined
  let isSlow = true
  const asked: number[] = []
  const slow: CheckpointSigner = {
    ...signer,
    async sign(gateway, head) {
      asked.push(head.sequence)
      if (isSlow) await new Promise<void>((resolve) => (signNow = resolve))
      return signer.sign(gateway, head)
    },
  }
  await outbox.close()
  outbox = await open(slow)
  await append('e1')
  await append('e2', 'e3', 'e4', 'e5', 'e6', 'e7')
  expect(asked).toEqual([1])
  expect(outbox.stats().lastSequence).toBe(7)
  signNow?.()
  await settled()
  expect(await checkpoints()).toMatchObject([{ sequence: 1, at: 8, isTrue: true }])
  isSlow = false
  signNow?.()
  await settled()
  expect(await checkpoints()).toMatchObject([{}, { sequence: 8, at: 9, isTrue: true }])
})

test('a crash between signing and storing loses the signature and nothing else (G8)', async () => {
  let isSigned = false
  disk.faults.pause = async (what) => {
    if (what === 'write' && isSigned) await new Promise(() => {})
  }
  await outbox.close()
  outbox = await open({
    ...signer,
    async sign(gateway, head) {
      isSigned = true
      return signer.sign(gateway, head)
    },
  })
  await append('e1')
  disk.crash()
  delete disk.faults.pause
  outbox = await open()
  await settled()
  expect(await checkpoints()).toMatchObject([{ sequence: 1, at: 2, isTrue: true }])
})

test('a key that fails to sign is told of, and tried again later (G8)', async () => {
  let tries = 0
  await outbox.close()
  outbox = await open({ ...signer, sign: () => Promise.reject(new Error(`try ${++tries}`)) })
  await append('e1')
  expect(tries).toBe(1)
  await append('e2')
  await clock.advance(12_000)
  expect(tries).toBe(2)
  expect(outbox.stats().unsigned).toMatchObject({ events: 2, ageMs: 12_000 })
})
