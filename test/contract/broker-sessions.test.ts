import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { rawConnection, subscribePacket } from '../support/raw-connection.ts'
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

test('a kept session that is connected keeps its connection at the bound of what is kept for it', async () => {
  const { port, connect, seen, when } = await start()
  const tls = await pki.device('a1')
  const reader = await rawConnection({ port, tls, clean: false })
  reader.write(subscribePacket('devices/a1/cmd/#', 1))
  await reader.until(0x90)
  const writer = await connect(tls)
  for (let index = 0; index < 8; index += 1)
    await writer.publishAsync(`devices/a1/cmd/${index}`, 'x', { qos: 1 })
  // The bound is 5. None of the 8 is acknowledged.
  for (let index = 0; index < 8; index += 1) await reader.until(0x32)
  await when(({ notKept }) => notKept.length === 3)
  reader.write(Buffer.from([0xc0, 0]))
  await reader.until(0xd0)
  expect(seen.notKept).toEqual(['queued', 'queued', 'queued'])
  reader.end()
})
