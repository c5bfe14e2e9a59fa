import type { IClientOptions } from 'mqtt'
import { expect, test } from 'vitest'
import { publish, subscribe } from '../../support/edge/mqtt-bytes.ts'
import { type RawOptions, rawConnection } from '../../support/edge/raw-connection.ts'
import { useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()

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
