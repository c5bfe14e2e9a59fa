import { join } from 'node:path'
import type { MqttClient } from 'mqtt'
import { expect, test } from 'vitest'
import { createTestPki, useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()

/** Each way a client can learn that it was not let in. */
const turnedAway = /refused|closed|certificate|ECONNRESET|disconnected|unknown ca/i
const climate = 'devices/a1/events/com.acme.climate'

/** Comes back once the broker has handled what was sent before. */
const roundTrip = (client: MqttClient, device = 'a1'): Promise<unknown> =>
  client.publishAsync(`devices/${device}/state`, 'here', { qos: 1 })

async function closed(client: MqttClient): Promise<void> {
  if (client.connected) await new Promise<void>((resolve) => client.once('close', () => resolve()))
}

test('a packet over the limit ends its connection before it is buffered (G7)', async () => {
  const { connect, outbox, when } = await start()
  const client = await connect(await pki.device('a1'))
  client.publish(climate, 'x'.repeat(5000), { qos: 1 })
  await closed(client)
  await when(({ logs }) => logs.some(({ code }) => code === 'PACKET_TOO_LARGE'))
  expect(outbox.stored).toEqual([])
})

test('who has no certificate, one of another CA, an expired one or one of another role is refused with the reason', async () => {
  const { connect, seen, when } = await start()
  const stranger = await createTestPki()
  try {
    const { ca } = await pki.device('a1')
    await expect(connect({ ca })).rejects.toThrow(turnedAway)
    await expect(connect({ ...(await stranger.device('a1')), ca })).rejects.toThrow(turnedAway)
    await expect(connect(await pki.expired('old'))).rejects.toThrow(turnedAway)
    await expect(connect(await pki.gateway('gw'))).rejects.toThrow(turnedAway)
  } finally {
    await stranger.close()
  }
  await when(({ refused }) => refused.length === 4)
  expect(seen.refused).toEqual(['no-certificate', 'unknown-ca', 'expired-certificate', 'bad-identity'])
  expect(seen.logs.map(({ reason }) => reason)).toEqual(seen.refused)
  for (const { address } of seen.logs) expect(address).toBe('127.0.0.1')
  // Whose it was, as it says itself.
  expect(seen.logs.map(({ claimed }) => claimed)).toEqual([undefined, 'a1', 'old', 'gw'])
})

test('connections are bounded, for a device and for all (G7)', async () => {
  const { connect, seen, when } = await start({ options: { connectionsMax: 3, connectionsPerDeviceMax: 2 } })
  const tls = await pki.device('a1')
  await connect(tls)
  await connect(tls)
  await expect(connect(tls)).rejects.toThrow(turnedAway)
  await when(({ refused }) => refused.length === 1)
  await connect(await pki.device('a2'))
  await expect(connect(await pki.device('a3'))).rejects.toThrow(turnedAway)
  await when(({ refused }) => refused.length === 2)
  expect(seen.refused).toEqual(['connections-per-device-max', 'connections-max'])
  expect(seen.connections).toBe(3)
})

test('two devices with the same client ID do not end each other’s sessions', async () => {
  const { connect } = await start()
  const first = await connect(await pki.device('a1'), { clientId: 'sensor' })
  const second = await connect(await pki.device('a2'), { clientId: 'sensor' })
  await roundTrip(first, 'a1')
  await roundTrip(second, 'a2')
  const third = await connect(await pki.device('a1'), { clientId: 'sensor' })
  await closed(first)
  await roundTrip(third, 'a1')
  expect(second.connected).toBe(true)
})

test.for<[string, object, string]>([
  ['MQTT 5', { protocolVersion: 5 }, 'protocol-version'],
  ['a client ID without end', { clientId: 'x'.repeat(129) }, 'client-id'],
  [
    'a will on a foreign topic',
    { will: { topic: 'devices/a2/x', payload: Buffer.from('x'), qos: 0, retain: false } },
    'will-topic',
  ],
  [
    'a will on a wildcard',
    { will: { topic: 'devices/a1/#', payload: Buffer.from('x'), qos: 0, retain: false } },
    'will-topic',
  ],
])('CONNECT with %s is refused by its return code', async ([, options, reason]) => {
  const { connect, seen, when } = await start()
  await expect(connect(await pki.device('a1'), options)).rejects.toThrow(turnedAway)
  await when(({ refused }) => refused.length > 0)
  expect(seen.refused).toEqual([reason])
})

test('a taken port is said plainly, and leaves nothing open', async () => {
  const { port } = await start()
  const folder = join(pki.folder, 'port-taken')
  const taken = { host: '127.0.0.1', port, auth: 'password', tls: true } as const
  await expect(start({ folder, listeners: [taken] })).rejects.toMatchObject({
    code: 'PORT_TAKEN',
    message: `the MQTT listener (password over TLS) cannot listen on 127.0.0.1:${port}: the port is taken`,
  })
  await start({ folder })
})
