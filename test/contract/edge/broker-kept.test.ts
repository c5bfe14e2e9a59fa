import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Level } from 'level'
import type { MqttClient } from 'mqtt'
import { expect, test } from 'vitest'
import { useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()

/** Comes back once the broker has handled what was sent before. */
const roundTrip = (client: MqttClient, device = 'a1'): Promise<unknown> =>
  client.publishAsync(`devices/${device}/state`, 'here', { qos: 1 })

test('retained messages and what waits for a kept session survive a restart', async () => {
  const folder = join(pki.folder, 'restart')
  const first = await start({ folder })
  const tls = await pki.device('a1')
  const reader = await first.connect(tls, { clientId: 'reader', clean: false })
  await reader.subscribeAsync('devices/a1/cmd/#', { qos: 1 })
  await reader.endAsync()
  const writer = await first.connect(tls)
  await writer.publishAsync('devices/a1/config', 'kept', { qos: 1, retain: true })
  await writer.publishAsync('devices/a1/cmd/1', 'one', { qos: 1 })
  await first.close()

  const second = await start({ folder })
  const again = await second.connect(tls)
  await again.publishAsync('devices/a1/cmd/2', 'two', { qos: 1 })
  const back = await second.connect(tls, { clientId: 'reader', clean: false })
  expect(await second.messages(back, 2)).toEqual(['devices/a1/cmd/1 one', 'devices/a1/cmd/2 two'])
  await again.subscribeAsync('devices/a1/config')
  expect(await second.messages(again, 1)).toEqual(['devices/a1/config kept'])
})

test('what is kept for a session that is away is bounded (G7)', async () => {
  const { connect, messages, seen, when } = await start()
  const tls = await pki.device('a1')
  const reader = await connect(tls, { clientId: 'reader', clean: false })
  await reader.subscribeAsync('devices/a1/cmd/#', { qos: 1 })
  await reader.endAsync()
  const writer = await connect(tls)
  for (let index = 0; index < 8; index += 1)
    await writer.publishAsync(`devices/a1/cmd/${index}`, 'x', { qos: 1 })
  // aedes acknowledges before it keeps.
  await when(({ notKept }) => notKept.length === 3)
  const back = await connect(tls, { clientId: 'reader', clean: false })
  await writer.publishAsync('devices/a1/cmd/live', 'x', { qos: 0 })
  const got = await messages(back, 6)
  expect(got.toSorted()).toEqual(
    [0, 1, 2, 3, 4].map((index) => `devices/a1/cmd/${index} x`).concat('devices/a1/cmd/live x'),
  )
  expect(seen.notKept).toEqual(['queued', 'queued', 'queued'])
})

test('retained messages are bounded for each device', async () => {
  const { connect, retained, seen } = await start()
  const client = await connect(await pki.device('a1'))
  for (let index = 0; index < 5; index += 1)
    await client.publishAsync(`devices/a1/r/${index}`, 'x', { qos: 1, retain: true })
  await client.publishAsync('devices/a1/r/0', '', { qos: 1, retain: true })
  await client.publishAsync('devices/a1/r/5', 'x', { qos: 1, retain: true })
  await roundTrip(client)
  await client.subscribeAsync('devices/a1/r/#')
  expect((await retained(client, 3)).toSorted()).toEqual([1, 2, 5].map((index) => `devices/a1/r/${index} x`))
  expect(seen.notKept).toEqual(['retained', 'retained'])
})

test('a subscriber finds the last retained message that was acknowledged, and only that one', async () => {
  const { connect, retained } = await start()
  const client = await connect(await pki.device('a1'))
  for (let round = 0; round < 30; round += 1) {
    const text = `round ${round}`
    const topic = `devices/a1/r/${round % 3}`
    await client.publishAsync(topic, 'earlier', { qos: 1, retain: true })
    await client.publishAsync(topic, '', { qos: 1, retain: true })
    await client.publishAsync(topic, text, { qos: 1, retain: true })
    await client.subscribeAsync(topic)
    expect(await retained(client, round + 1)).toEqual(
      Array.from({ length: round + 1 }, (_, index) => `devices/a1/r/${index % 3} round ${index}`),
    )
    await client.unsubscribeAsync(topic)
  }
})

test('a session database that cannot be read is set aside whole, and the gateway starts', async () => {
  const folder = join(pki.folder, 'damaged')
  await (await start({ folder })).close()
  for (const file of await readdir(folder)) {
    if (file.startsWith('MANIFEST') || file === 'CURRENT') await writeFile(join(folder, file), 'garbage')
  }
  const { connect, seen } = await start({ folder })
  await roundTrip(await connect(await pki.device('a1')))
  expect(seen.logs[0]).toMatchObject({ code: 'SESSIONS_DAMAGED' })
  expect(await readdir(String(seen.logs[0]?.['aside']))).toContain('CURRENT')
})

test.for([
  'retained:devices/a1/x',
  'subscriptions:a1%2Fsensor:%23',
  'outgoing:a1%2Fsensor:a:1',
  'will:a1%2Fgone',
])('a damaged record of the sessions, %s, costs that record and nothing else', async (key) => {
  const folder = join(pki.folder, `record-${key.length}`)
  const first = await start({ folder })
  const before = await first.connect(await pki.device('a1'), { clientId: 'sensor', clean: false })
  await before.publishAsync('devices/a1/r/1', 'x', { qos: 1, retain: true })
  await roundTrip(before)
  await first.close()
  const database = new Level<string, Buffer>(folder, { valueEncoding: 'buffer' })
  await database.put(key, Buffer.from([0xc1, 0xff]))
  await database.close()
  const { connect, retained, seen } = await start({ folder })
  const client = await connect(await pki.device('a1'), { clientId: 'sensor', clean: false })
  await client.subscribeAsync('devices/a1/r/#')
  expect(await retained(client, 1)).toEqual(['devices/a1/r/1 x'])
  await roundTrip(client)
  expect(seen.logs[0]).toMatchObject({ code: 'SESSIONS_DAMAGED', removed: 1 })
})

test('a session database that is in use is never set aside', async () => {
  const folder = join(pki.folder, 'shared')
  await start({ folder })
  await expect(start({ folder })).rejects.toMatchObject({ code: 'SESSIONS_UNAVAILABLE' })
  expect((await readdir(pki.folder)).filter((name) => name.startsWith('shared'))).toEqual(['shared'])
})
