import { join } from 'node:path'
import type { MqttClient, Packet } from 'mqtt'
import { expect, test, vi } from 'vitest'
import { createTopicRules } from '../../../edge/admission/routes/topics.ts'
import { useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()

/** What the client says of a SUBACK with 0x80. */
const refused = /Unspecified error/

function received(client: MqttClient): Packet[] {
  const packets: Packet[] = []
  client.on('packetreceive', (packet) => packets.push(packet))
  return packets
}

test('a device reads its own topics and what is configured; other subscriptions are answered with 0x80', async () => {
  const { connect } = await start({ subscribe: ['fleet/#'] })
  const client = await connect(await pki.device('a1'))
  const packets = received(client)
  await client.subscribeAsync(['devices/a1/#', 'fleet/news', 'devices/a2/#', '#']).catch(() => {})
  const suback = packets.find(({ cmd }) => cmd === 'suback')
  expect(suback).toMatchObject({ granted: [0, 0, 128, 128] })
})

test('a kept session is sent nothing that its device may not read, even if it was asked for', async () => {
  const { connect, messages } = await start()
  const tls = await pki.device('a1')
  const reader = await connect(tls, { clientId: 'reader', clean: false })
  await reader.subscribeAsync(['devices/a1/#', 'devices/a2/#'], { qos: 1 }).catch(() => {})
  await reader.endAsync()
  const other = await connect(await pki.device('a2'))
  await other.publishAsync('devices/a2/secret', 'x', { qos: 1 })
  const own = await connect(tls)
  await own.publishAsync('devices/a1/cmd', 'mine', { qos: 1 })
  const back = await connect(tls, { clientId: 'reader', clean: false })
  expect(await messages(back, 1)).toEqual(['devices/a1/cmd mine'])
})

test('subscriptions of kept sessions are bounded for each device, and what was refused does not count', async () => {
  const { connect, when } = await start()
  const tls = await pki.device('a1')
  const keeper = await connect(tls, { clientId: 'keeper', clean: false })
  const foreign = [1, 2, 3, 4].map((index) => `devices/a2/${index}`)
  await keeper.subscribeAsync(['devices/a1/1', ...foreign]).catch(() => {})
  await keeper.subscribeAsync(['devices/a1/1', 'devices/a1/2'])
  const other = await connect(tls, { clientId: 'other', clean: false })
  await other.subscribeAsync('devices/a1/3')
  await expect(other.subscribeAsync('devices/a1/4')).rejects.toThrow(refused)
  await when(({ logs }) => logs.some(({ code }) => code === 'SUBSCRIPTIONS_MAX'))
  await keeper.unsubscribeAsync('devices/a1/2')
  const again = await connect(tls, { clientId: 'again', clean: false })
  await again.subscribeAsync('devices/a1/4')
})

test.for([
  ['kept', false],
  ['clean', true],
] as const)(
  'of a SUBSCRIBE of hundreds of filters in a %s session as many are made as there is room for, each looked at once (G7)',
  async ([, clean]) => {
    const rules = createTopicRules({ subscribe: [], isRouted: () => false, isIgnored: () => false })
    let looks = 0
    const maySubscribe = (deviceId: string, filter: string): boolean => {
      looks += 1
      return rules.maySubscribe(deviceId, filter)
    }
    const { connect, when } = await start({
      options: { packetBytesMax: 1 << 20, rules: { ...rules, maySubscribe } },
    })
    const client = await connect(await pki.device('a1'), { clientId: 'greedy', clean })
    const packets = received(client)
    const filters = Array.from({ length: 500 }, (_, index) => `devices/a1/f/${index}`)
    await client.subscribeAsync(filters).catch(() => {})
    await when(({ logs }) => logs.some(({ code }) => code === 'SUBSCRIPTIONS_MAX'))
    expect(looks).toBe(filters.length)
    const granted = filters.map((_, index) => (index < 3 ? 0 : 128))
    expect(packets.find(({ cmd }) => cmd === 'suback')).toMatchObject({ granted })
    expect(client.connected).toBe(true)
  },
)

test('a SUBSCRIBE of thousands of filters ends its connection before any is looked at (G7)', async () => {
  const rules = createTopicRules({ subscribe: [], isRouted: () => false, isIgnored: () => false })
  const maySubscribe = vi.fn<typeof rules.maySubscribe>(rules.maySubscribe)
  const { connect, when } = await start({
    options: { packetBytesMax: 1 << 20, rules: { ...rules, maySubscribe } },
  })
  const client = await connect(await pki.device('a1'))
  const filters = Array.from({ length: 5000 }, (_, index) => `devices/a1/f/${index}`)
  await expect(client.subscribeAsync(filters)).rejects.toThrow(/closed/i)
  await when(({ ended }) => ended.includes('filters-max'))
  expect(maySubscribe).not.toHaveBeenCalled()
})

test('subscriptions of a clean session are bounded, and one that is given up makes room for another (G7)', async () => {
  const { connect, messages } = await start()
  const client = await connect(await pki.device('a1'))
  for (let index = 0; index < 10; index += 1) {
    await client.subscribeAsync([`devices/a1/${index}`, `devices/a1/${index}/#`, 'devices/a1/always'])
    await client.unsubscribeAsync([`devices/a1/${index}`, `devices/a1/${index}/#`])
  }
  await client.publishAsync('devices/a1/always', 'x')
  expect(await messages(client, 1)).toEqual(['devices/a1/always x'])
  await client.subscribeAsync(['devices/a1/1', 'devices/a1/2'])
  await expect(client.subscribeAsync('devices/a1/3')).rejects.toThrow(refused)
  expect(client.connected).toBe(true)
})

test('what waits for a kept session is not sent once its device may no longer read it', async () => {
  const folder = join(pki.folder, 'withdrawn')
  const routes = [{ topic: 'fleet/{subject}', type: 'com.acme.news' }]
  const first = await start({ folder, routes, subscribe: ['fleet/#'] })
  const tls = await pki.device('a1')
  const reader = await first.connect(tls, { clientId: 'reader', clean: false })
  await reader.subscribeAsync(['fleet/#', 'devices/a1/#'], { qos: 1 })
  await reader.endAsync()
  const writer = await first.connect(tls)
  await writer.publishAsync('fleet/news', '1', { qos: 1 })
  await writer.publishAsync('devices/a1/cmd', 'mine', { qos: 1 })
  await first.close()

  const second = await start({ folder })
  const back = await second.connect(tls, { clientId: 'reader', clean: false })
  expect(await second.messages(back, 1)).toEqual(['devices/a1/cmd mine'])
})
