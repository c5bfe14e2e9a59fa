import type { IClientOptions } from 'mqtt'
import { afterEach, expect, test, vi } from 'vitest'
import { holdWrites } from '../../support/edge/held-writes.ts'
import { connect, disconnect, publish, subscribe, text, unsubscribe } from '../../support/edge/mqtt-bytes.ts'
import { type RawOptions, rawConnection } from '../../support/edge/raw-connection.ts'
import { messages, published } from '../../support/edge/raw-messages.ts'
import { useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()
// Before the brokers end.
afterEach(() => vi.restoreAllMocks())

test('of connections that begin at a time under one client ID one stays, and the next takes its place', async () => {
  const { port, seen, when } = await start()
  for (let round = 1; round <= 8; round += 1) {
    const device = `a${round}`
    const options: RawOptions = { port, tls: await pki.device(device), clean: false }
    const first = await rawConnection(options)
    first.write(subscribe(1, [`devices/${device}/cmd`, 1]))
    await first.until(0x90)
    // One that is ended early has no answer.
    await Promise.allSettled([1, 2, 3].map(() => rawConnection(options)))
    await when(({ connections }) => connections === round)
    const last = await rawConnection(options)
    await when(({ connections }) => connections === round)
    last.write(publish(`devices/${device}/cmd`, 'x', 1, 1))
    await last.until(0x40)
    await last.until(0x32)
  }
  expect(seen.connections).toBe(8)
})

test.for(['made', 'given up'])(
  'a subscription that is %s on a connection whose place is being taken is so on the one that takes it',
  async (what) => {
    const { port, when } = await start()
    const tls = await pki.device('a1')
    const topic = 'devices/a1/cmd'
    const before = await rawConnection({ port, tls, clientId: 'kept', clean: false })
    before.write(what === 'made' ? subscribe(1, ['devices/a1/other', 1]) : subscribe(1, [topic, 1]))
    await before.until(0x90)
    // The session was found, and what it had subscribed to; its will is written before the other connection is closed.
    const { begun, open } = holdWrites('will:')
    const opening = connect({ clientId: 'kept', flags: 4, rest: [text('devices/a1/will'), text('w')] })
    const after = await rawConnection({ port, tls, opening })
    await begun
    before.write(what === 'made' ? subscribe(2, [topic, 1]) : unsubscribe(2, topic))
    await before.untilAny([0x90, 0xb0])
    open()
    await after.until(0x20)
    await when(({ connections }) => connections === 1)
    const writer = await rawConnection({ port, tls, clientId: 'writer' })
    // Acknowledged when it was distributed.
    await published(writer, topic, 'x', 2)
    await published(writer, topic, 'y', 0)
    const expected = what === 'made' ? ['x', 'y'] : []
    const came = await messages(after, expected.length)
    expect(came.map(({ payload }) => payload)).toEqual(expected)
  },
)

test('a subscription that is made on a connection whose place a clean session takes is over with it [MQTT-3.1.2-6]', async () => {
  const { port, when } = await start()
  const tls = await pki.device('a1')
  const kept: RawOptions = { port, tls, clientId: 'one', clean: false }
  const before = await rawConnection(kept)
  // What was kept is over; the will is written before the other connection is closed.
  const { begun, open } = holdWrites('will:')
  const opening = connect({ clientId: 'one', flags: 6, rest: [text('devices/a1/will'), text('w')] })
  const clean = await rawConnection({ port, tls, opening })
  await begun
  before.write(subscribe(1, ['devices/a1/cmd', 1]))
  await before.until(0x90)
  open()
  await clean.until(0x20)
  clean.write(disconnect)
  await when(({ connections }) => connections === 0)
  const again = await rawConnection({ ...kept, opening: connect({ clientId: 'one', flags: 0 }) })
  expect([...(await again.until(0x20))], 'no session is present').toEqual([0x20, 2, 0, 0])
})

test('a kept session that comes back amid a flow of messages gets each once, in order [MQTT-4.6.0-6]', async () => {
  const sessionLimits = {
    queuedMax: 2000,
    subscriptionsPerDeviceMax: 3,
    retainedMax: 100,
    retainedPerDeviceMax: 3,
    bytesPerDeviceMax: 1 << 26,
    unreleasedPerDeviceMax: 300,
  }
  const { connect, messages } = await start({ options: { sessionLimits } })
  const tls = await pki.device('a1')
  const kept: IClientOptions = { clientId: 'kept', clean: false }
  const before = await connect(tls, kept)
  await before.subscribeAsync('devices/a1/cmd', { qos: 1 })
  await before.endAsync()
  const writer = await connect(tls)
  const expected: string[] = []
  const publish = (): Promise<unknown> => {
    expected.push(`devices/a1/cmd ${expected.length}`)
    return writer.publishAsync('devices/a1/cmd', String(expected.length - 1), { qos: 1 })
  }
  await Promise.all(Array.from({ length: 300 }, publish))
  const back = connect(tls, kept)
  const connected = back.then(() => 'connected')
  while ((await Promise.race([connected, Promise.all([publish(), publish()])])) !== 'connected');
  for (let index = 0; index < 100; index += 1) await publish()
  expect(await messages(await back, expected.length)).toEqual(expected)
})
