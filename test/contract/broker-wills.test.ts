import { join } from 'node:path'
import { Level } from 'level'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import {
  createTestPki,
  startTestBroker,
  type TestBroker,
  type TestBrokerOptions,
  type TestPki,
} from '../support/test-broker.ts'

let pki: TestPki
const brokers: TestBroker[] = []
beforeAll(async () => {
  pki = await createTestPki()
})
afterAll(() => pki.close())
afterEach(async () => {
  for (const broker of brokers.splice(0)) await broker.close()
})

async function start(given: TestBrokerOptions = {}): Promise<TestBroker> {
  const broker = await startTestBroker(pki, given)
  brokers.push(broker)
  return broker
}

const willOf = (id: string) => ({
  topic: 'devices/a1/events/com.acme.climate',
  payload: Buffer.from(JSON.stringify({ specversion: '1.0', id, data: { temperature: 1 } })),
  qos: 1 as const,
  retain: false,
})

/** The next run publishes them a few minutes after its start. */
async function keptWills(folder: string): Promise<string[]> {
  const records = new Level<string, Buffer>(folder, { valueEncoding: 'buffer' })
  try {
    return await records.keys({ gte: 'will:', lt: 'will;' }).all()
  } finally {
    await records.close()
  }
}

test('a stop does not wait until there is room for a will, and leaves it to the next run', async () => {
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
  expect(await keptWills(folder)).toEqual(['will:a1%2Fdies', 'will:a1%2Fstays'])
})

test('a will that became an event when the gateway stopped is not published again by the next run', async () => {
  const folder = join(pki.folder, 'stop')
  const { broker, connect, outbox } = await start({ folder })
  await connect(await pki.device('a1'), { will: willOf('last-words') })
  await broker.close()
  expect(outbox.stored.map(({ candidate }) => candidate.id)).toEqual(['last-words'])
  expect(await keptWills(folder)).toEqual([])
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
