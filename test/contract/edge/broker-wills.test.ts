import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { Level } from 'level'
import { expect, test } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { TidegateError } from '../../../src/errors.ts'
import { FakeClock } from '../../support/fakes/clock.ts'
import { type TestBroker, type TestBrokerOptions, useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()

const willOf = (id: string) => ({
  topic: 'devices/a1/events/com.acme.climate',
  payload: Buffer.from(JSON.stringify({ specversion: '1.0', id, data: { temperature: 1 } })),
  qos: 1 as const,
  retain: false,
})

/** A run that finds what is in the folder of another that is still open, as it would after `kill -9`. */
async function startAfterCrash(
  folder: string,
  clock: FakeClock,
  more: TestBrokerOptions = {},
): Promise<TestBroker> {
  const left = `${folder}-left`
  await cp(folder, left, { recursive: true, filter: (file) => !file.endsWith('LOCK') })
  return await start({ ...more, folder: left, options: { clock } })
}

const idsOf = ({ outbox }: TestBroker): string[] => outbox.stored.map(({ candidate }) => candidate.id)
/** After it, wills of an earlier run are published. */
const roundMs = 240_000

/** The next run publishes them a few minutes after its start. */
async function keptWills(folder: string): Promise<string[]> {
  const records = new Level<string, Buffer>(folder, { valueEncoding: 'buffer' })
  try {
    return await records.keys({ gte: 'will:', lt: 'will;' }).all()
  } finally {
    await records.close()
  }
}

test('a stop does not wait until there is room for a will, and leaves it to the next run (G7)', async () => {
  const folder = join(pki.folder, 'stop-full')
  // It has waited long enough at once.
  const clock = { ...systemClock, sleep: () => Promise.resolve() }
  const { broker, connect, outbox } = await start({ folder, options: { clock } })
  const tls = await pki.device('a1')
  outbox.shut()
  const dies = await connect(tls, { clientId: 'dies', will: willOf('dies') })
  dies.stream.destroy()
  await outbox.untilWaiting(1)
  await connect(tls, { clientId: 'stays', will: willOf('stays') })
  await broker.close()
  expect(outbox.waiting).toBe(0)
  expect(outbox.stored).toEqual([])
  expect(await keptWills(folder)).toEqual(['will:a1%2Fdies:1', 'will:a1%2Fstays:2'])
})

test('a will that became an event when the gateway stopped is not published again by the next run', async () => {
  const folder = join(pki.folder, 'stop')
  const { broker, connect, outbox } = await start({ folder })
  await connect(await pki.device('a1'), { will: willOf('last-words') })
  await broker.close()
  expect(outbox.stored.map(({ candidate }) => candidate.id)).toEqual(['last-words'])
  expect(await keptWills(folder)).toEqual([])
})

test('a retained will that became an event when the gateway stopped is what subscribers of the next run find', async () => {
  const folder = join(pki.folder, 'stop-retained')
  const tls = await pki.device('a1')
  for (const qos of [0, 1] as const) {
    const { broker, connect } = await start({ folder })
    const before = await connect(tls, { clientId: 'before' })
    await before.publishAsync('devices/a1/state', 'online', { qos: 1, retain: true })
    await before.endAsync()
    const will = { topic: 'devices/a1/state', payload: Buffer.from(`offline ${qos}`), qos, retain: true }
    await connect(tls, { clientId: 'last', will })
    await broker.close()
    const next = await start({ folder })
    const reader = await next.connect(tls)
    await reader.subscribeAsync('devices/a1/state', { qos: 1 })
    expect(await next.retained(reader, 1)).toEqual([`devices/a1/state offline ${qos}`])
    await next.broker.close()
  }
})

test('the wills of one device that wait for room are bounded (G7)', async () => {
  const { connect, outbox, seen, when } = await start()
  const tls = await pki.device('a1')
  outbox.shut()
  for (let index = 0; index < 6; index += 1) {
    const client = await connect(tls, { will: willOf(`will-${index}`) })
    client.stream.destroy()
    await when(({ connections }) => connections === 0)
  }
  await when(({ logs }) => logs.some(({ code }) => code === 'WILLS_MAX'))
  await when(({ published }) => published.length === 2)
  expect(seen.published).toEqual(['failed', 'failed'])
  // The bound is 4.
  expect(outbox.waiting).toBe(4)
  outbox.open()
  await when(({ published }) => published.filter((result) => result === 'accepted').length === 4)
})

test('the will of a connection that took the place of another survives a crash', async () => {
  const folder = join(pki.folder, 'takeover')
  const first = await start({ folder })
  const tls = await pki.device('a1')
  await first.connect(tls, { clientId: 'same', will: willOf('first') })
  await first.connect(tls, { clientId: 'same', will: willOf('second') })
  await first.outbox.until(1)
  await first.when(({ published, connections }) => published.length === 1 && connections === 1)
  expect(idsOf(first)).toEqual(['first'])

  const clock = new FakeClock(Date.now())
  const next = await startAfterCrash(folder, clock)
  await clock.advance(roundMs)
  await next.outbox.until(1)
  expect(idsOf(next)).toEqual(['second'])
})

test('a will that waits for room is published by the next run, although its device came back', async () => {
  const folder = join(pki.folder, 'waits')
  const first = await start({ folder })
  const tls = await pki.device('a1')
  first.outbox.shut()
  const dies = await first.connect(tls, { clientId: 'same', will: willOf('dies') })
  dies.stream.destroy()
  await first.outbox.untilWaiting(1)
  const back = await first.connect(tls, { clientId: 'same' })
  await back.endAsync()

  const clock = new FakeClock(Date.now())
  const next = await startAfterCrash(folder, clock)
  await next.connect(tls, { clientId: 'same' })
  await clock.advance(roundMs)
  await next.outbox.until(1)
  expect(idsOf(next)).toEqual(['dies'])
})

test('a will of an earlier run goes to subscribers, unless a route ignores it', async () => {
  const folder = join(pki.folder, 'ignored')
  const more: TestBrokerOptions = {
    routes: [
      { topic: 'noise/+', action: 'ignore' },
      { topic: 'talk/+', action: 'local' },
    ],
    subscribe: ['noise/+', 'talk/+'],
  }
  const first = await start({ ...more, folder })
  const tls = await pki.device('a1')
  // Published in this order.
  for (const topic of ['noise/x', 'talk/x']) {
    const will = { topic, payload: Buffer.from('gone'), qos: 1 as const, retain: true }
    await first.connect(tls, { clientId: topic, will })
  }
  const clock = new FakeClock(Date.now())
  const next = await startAfterCrash(folder, clock, more)
  const listener = await next.connect(tls)
  await listener.subscribeAsync(['noise/+', 'talk/+'], { qos: 1 })
  await clock.advance(roundMs)
  expect(await next.messages(listener, 1)).toEqual(['talk/x gone'])
})

test('the will of a device that came back after a crash, or said goodbye before it, is not published', async () => {
  const folder = join(pki.folder, 'back')
  const first = await start({ folder })
  const tls = await pki.device('a1')
  await first.connect(tls, { clientId: 'back', will: willOf('back') })
  const polite = await first.connect(tls, { clientId: 'polite', will: willOf('polite') })
  await first.connect(tls, { clientId: 'gone', will: willOf('gone') })
  await polite.endAsync()
  await first.when(({ connections }) => connections === 2)

  const clock = new FakeClock(Date.now())
  const next = await startAfterCrash(folder, clock)
  await next.connect(tls, { clientId: 'back' })
  await clock.advance(roundMs)
  await next.outbox.until(1)
  expect(idsOf(next)).toEqual(['gone'])
})

test('wills that find the outbox busy after a crash end nothing, and are published once there is room', async () => {
  const folder = join(pki.folder, 'busy')
  const first = await start({ folder })
  const tls = await pki.device('a1')
  const ids = ['one', 'three', 'two']
  for (const id of ids) await first.connect(tls, { clientId: id, will: willOf(id) })

  const clock = new FakeClock(Date.now())
  const next = await startAfterCrash(folder, clock)
  next.outbox.fail(new TidegateError('OUTBOX_BUSY', { message: 'full', retryable: true, hint: 'wait' }))
  const reader = await next.connect(await pki.device('a1'))
  await reader.subscribeAsync('devices/a1/#')
  await clock.advance(roundMs)
  await next.when(({ published }) => published.length === 3)
  expect(next.seen.published).toEqual(['failed', 'failed', 'failed'])
  await next.when(({ logs }) =>
    logs.some(({ msg, code }) => msg === 'will put off' && code === 'OUTBOX_BUSY'),
  )

  next.outbox.fail(undefined)
  await clock.advance(roundMs)
  await next.outbox.until(3)
  expect(idsOf(next)).toEqual(ids)
  expect(await next.messages(reader, 3)).toHaveLength(3)
  await next.broker.close()
  expect(await keptWills(`${folder}-left`)).toEqual([])
})

test('wills of an earlier run wait for room one at a time, each in its turn (G7)', async () => {
  const folder = join(pki.folder, 'turns')
  const first = await start({ folder })
  const tls = await pki.device('a1')
  for (const id of ['one', 'two']) await first.connect(tls, { clientId: id, will: willOf(id) })

  const clock = new FakeClock(Date.now())
  const next = await startAfterCrash(folder, clock)
  const reader = await next.connect(tls)
  await reader.subscribeAsync('devices/a1/#')
  next.outbox.shut()
  await clock.advance(roundMs)
  await next.outbox.untilWaiting(1)
  await clock.advance(5000)
  await next.when(({ published }) => published.length === 1)
  await next.outbox.untilWaiting(1)
  expect(next.outbox.waiting).toBe(1)
  next.outbox.open()
  // Distributed when it is done with, and the round with it.
  await next.messages(reader, 1)
  expect(idsOf(next)).toEqual(['two'])
  await clock.advance(roundMs)
  await next.outbox.until(2)
  expect(idsOf(next)).toEqual(['two', 'one'])
})
