import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { publishPacket, type RawOptions, rawConnection, subscribePacket } from '../support/raw-connection.ts'
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

test('of connections that begin at a time under one client ID one stays, and the next takes its place', async () => {
  const { port, seen, when } = await start()
  for (let round = 1; round <= 8; round += 1) {
    const device = `a${round}`
    const options: RawOptions = { port, tls: await pki.device(device), clean: false }
    const first = await rawConnection(options)
    first.write(subscribePacket(`devices/${device}/cmd`, 1))
    await first.until(0x90)
    // One that is ended early has no answer.
    await Promise.allSettled([1, 2, 3].map(() => rawConnection(options)))
    await when(({ connections }) => connections === round)
    const last = await rawConnection(options)
    await when(({ connections }) => connections === round)
    last.write(publishPacket(`devices/${device}/cmd`, 'x', 1, 1))
    await last.until(0x40)
    await last.until(0x32)
  }
  expect(seen.connections).toBe(8)
})
