import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import {
  packetIdOf,
  pubcompPacket,
  pubrecPacket,
  type RawConnection,
  rawConnection,
  subscribePacket,
} from '../support/raw-connection.ts'
import {
  createTestPki,
  startTestBroker,
  type TestBroker,
  type TestBrokerOptions,
  type TestPki,
} from '../support/test-broker.ts'

let pki: TestPki
let tls: { ca: Buffer; cert: Buffer; key: Buffer }
const brokers: TestBroker[] = []
beforeAll(async () => {
  pki = await createTestPki()
  tls = await pki.device('a1')
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

const kept = ({ port }: TestBroker): Promise<RawConnection> => rawConnection({ port, tls, clean: false })

async function drop({ when }: TestBroker, raw: RawConnection): Promise<void> {
  raw.end()
  await when(({ connections }) => connections === 0)
}

test('a message that a kept session has received and not completed is released at each connect, across a restart', async () => {
  const folder = join(pki.folder, 'received')
  let broker = await start({ folder })
  let reader = await kept(broker)
  reader.write(subscribePacket('devices/a1/cmd', 2))
  await reader.until(0x90)
  const writer = await broker.connect(tls)
  await writer.publishAsync('devices/a1/cmd', 'x', { qos: 2 })
  await writer.endAsync()
  const id = packetIdOf(await reader.until(0x34))
  reader.write(pubrecPacket(id))
  await reader.until(0x62)
  for (let index = 0; index < 3; index += 1) {
    await drop(broker, reader)
    reader = await kept(broker)
    await reader.until(0x62)
  }
  await drop(broker, reader)
  await broker.close()
  broker = await start({ folder })
  reader = await kept(broker)
  await reader.until(0x62)
  reader.write(pubcompPacket(id))
  reader.write(Buffer.from([0xc0, 0]))
  await reader.until(0xd0)
  await drop(broker, reader)
  reader = await kept(broker)
  reader.write(Buffer.from([0xc0, 0]))
  await reader.until(0xd0)
  expect(reader.got(0x62)).toBe(0)
  reader.end()
})
