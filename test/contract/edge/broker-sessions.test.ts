import { EventEmitter, once } from 'node:events'
import { join } from 'node:path'
import { Level } from 'level'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import { PacketIds } from '../../../edge/sessions/packet-ids.ts'
import { type Clock, systemClock } from '../../../src/clock.ts'
import { ack, connect as connectPacket, pingreq, publish, subscribe } from '../../support/edge/mqtt-bytes.ts'
import { rawConnection } from '../../support/edge/raw-connection.ts'
import { useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()
// Before the brokers end.
afterEach(() => vi.restoreAllMocks())

test('a kept session that is connected keeps its connection at the bound of what is kept for it', async () => {
  const { port, connect, seen, when } = await start()
  const tls = await pki.device('a1')
  const reader = await rawConnection({ port, tls, clean: false })
  reader.write(subscribe(1, ['devices/a1/cmd/#', 1]))
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

/** More than the buffers of two kernels take. */
const flood = Array.from({ length: 120 }, (_, index) => `${index} ${'x'.repeat(200_000)}`)
const roomy = {
  packetBytesMax: 1 << 20,
  sessionLimits: {
    queuedMax: 1000,
    subscriptionsPerDeviceMax: 3,
    retainedMax: 100,
    retainedPerDeviceMax: 3,
    bytesPerDeviceMax: 1 << 26,
    unreleasedPerDeviceMax: 300,
  },
}

/** How long publishers wait for a subscriber. */
const patienceMs = 5000

test('a subscriber that does not read holds up nobody else, and what it is not sent at QoS 0 is dropped and counted (G7)', async () => {
  const patience = new EventEmitter()
  const waiting = once(patience, 'waits')
  const lost = once(patience, 'lost')
  const after = (delayMs: number, task: () => void) => {
    if (delayMs !== patienceMs) return systemClock.after(delayMs, task)
    patience.emit('waits')
    void lost.then(task)
    return { cancel() {} }
  }
  const { port, connect, seen, when } = await start({
    options: { ...roomy, clock: { ...systemClock, after } },
  })
  const tls = await pki.device('a1')
  const stuck = await rawConnection({ port, tls })
  stuck.write(subscribe(1, ['devices/a1/cmd/#', 0]))
  await stuck.until(0x90)
  stuck.pause()
  const writer = await connect(tls)
  const send = (text: string, index: number): Promise<unknown> =>
    writer.publishAsync('devices/a1/cmd/x', text, { qos: index % 2 ? 2 : 0 })
  const sent: Promise<unknown>[] = []
  // Each at once, although the socket of the subscriber is full long before any of them waits.
  for (const [index, text] of flood.entries()) {
    sent.push(send(text, index))
    await Promise.race([sent.at(-1), waiting])
  }
  // Read all at once, they wait together.
  const many = await rawConnection({ port, tls, clientId: 'many' })
  const small = Array.from({ length: 300 }, (_, index) => publish('devices/a1/cmd/x', 'small', 1, index + 1))
  many.write(Buffer.concat(small))
  await many.until(0x40)
  // aedes acknowledges QoS 2 when the message has been distributed.
  const other = await connect(await pki.device('a2'))
  for (let index = 0; index < 20; index += 1) await other.publishAsync('devices/a2/state', 'here', { qos: 2 })
  expect(seen.notKept).toEqual([])
  expect(seen.published.length).toBeLessThan(300 + 20 + flood.length)
  patience.emit('lost')
  await Promise.all(sent)
  await when(({ notKept }) => notKept.includes('unsent'))
  expect(seen.logs.map(({ code }) => code)).not.toContain('SUBSCRIBER_SLOW')
  stuck.end()
})

test('a subscriber that does not read is ended at QoS 1; its kept session gets everything when it is back (G7)', async () => {
  let isHurried = true
  const clock: Clock = {
    ...systemClock,
    after: (delayMs, task) => systemClock.after(isHurried && delayMs === patienceMs ? 0 : delayMs, task),
  }
  const { port, connect, messages, when } = await start({ options: { ...roomy, clock } })
  const tls = await pki.device('a1')
  const stuck = await rawConnection({ port, tls, clean: false })
  stuck.write(subscribe(1, ['devices/a1/cmd', 1]))
  await stuck.until(0x90)
  stuck.pause()
  const writer = await connect(tls)
  for (const text of flood) await writer.publishAsync('devices/a1/cmd', text, { qos: 1 })
  await when(({ logs }) => logs.some(({ code }) => code === 'SUBSCRIBER_SLOW'))
  isHurried = false
  stuck.end()
  const back = await connect(tls, { clientId: 'raw', clean: false })
  const got = await messages(back, flood.length)
  expect(new Set(got)).toEqual(new Set(flood.map((text) => `devices/a1/cmd ${text}`)))
})

test('a subscriber that acknowledges nothing until no packet ID is left is ended, and that is what is said of it (G7)', async () => {
  const next = vi.spyOn(PacketIds.prototype, 'next')
  const { port, connect, seen, when } = await start()
  const tls = await pki.device('a1')
  const silent = await rawConnection({ port, tls })
  silent.write(subscribe(1, ['devices/a1/cmd', 1]))
  await silent.until(0x90)
  next.mockReturnValue(undefined)
  const writer = await connect(tls)
  await writer.publishAsync('devices/a1/cmd', 'x', { qos: 1 })
  await silent.over
  await when(({ ended }) => ended.length === 1)
  expect(seen.ended).toEqual(['subscriber-slow'])
  expect(seen.logs.find(({ code }) => code === 'SUBSCRIBER_SLOW')).toMatchObject({
    device: 'a1',
    detail:
      'a1 does not acknowledge what it is sent: 65535 messages of QoS 1 or 2 are unacknowledged, and no packet ID is left',
  })
})

test('a device that pings keeps its connection while an answer to its SUBSCRIBE waits for it to read [MQTT-3.1.2-24]', async () => {
  const { port, seen } = await start({ options: { ...roomy, packetBytesMax: 1 << 24 } })
  const tls = await pki.device('a1')
  const slow = await rawConnection({ port, tls, opening: connectPacket({ keepAliveSeconds: 1 }) })
  slow.write(subscribe(1, ['devices/a1/big', 0]))
  await slow.until(0x90)
  slow.pause()
  const pings = new EventEmitter()
  const pinging = setInterval(() => {
    slow.write(pingreq)
    pings.emit('ping')
  }, 250)
  onTestFinished(() => clearInterval(pinging))
  const writer = await rawConnection({ port, tls, clientId: 'writer' })
  writer.write(publish('devices/a1/big', 'x'.repeat(8_000_000), 1, 1))
  await writer.until(0x40)
  for (let index = 0; index < 2; index += 1) {
    writer.write(pingreq)
    await writer.until(0xd0)
  }
  // Its answer is behind that message.
  slow.write(subscribe(2, ['devices/a1/x', 0]))
  // Two of its keep alives.
  for (let index = 0; index < 8; index += 1) await once(pings, 'ping')
  expect(seen.ended).toEqual([])
  slow.resume()
  await slow.until(0x90)
  for (let index = 0; index < 8; index += 1) await slow.until(0xd0)
  clearInterval(pinging)
  await slow.over
  expect(seen.ended).toEqual(['keep-alive'])
})

test('a subscriber that reads misses nothing of a flood', async () => {
  const { connect, messages, seen } = await start({ options: roomy })
  const tls = await pki.device('a1')
  const reader = await connect(tls)
  await reader.subscribeAsync('devices/a1/cmd', { qos: 1 })
  const writer = await connect(tls)
  const sent = flood.map((text, index) =>
    writer.publishAsync('devices/a1/cmd', text, { qos: index % 2 ? 1 : 0 }),
  )
  await Promise.all(sent)
  expect(await messages(reader, flood.length)).toHaveLength(flood.length)
  expect(seen.notKept).toEqual([])
})

test('what is published at once comes to every subscriber whole and in order, although some of it is kept [MQTT-4.6.0-6]', async () => {
  const { connect, messages } = await start({ options: roomy })
  const tls = await pki.device('a1')
  const kept = await connect(tls, { clientId: 'kept', clean: false })
  const clean = await connect(tls)
  for (const reader of [kept, clean]) await reader.subscribeAsync('devices/a1/cmd', { qos: 1 })
  // It takes this one twice, and is to have it once.
  await clean.subscribeAsync('devices/a1/#', { qos: 1 })
  const writer = await connect(tls)
  const texts = Array.from({ length: 800 }, (_, index) => `devices/a1/cmd ${index}`)
  const sent = texts.map((text) =>
    writer.publishAsync('devices/a1/cmd', text.split(' ')[1] ?? '', { qos: 1 }),
  )
  await Promise.all(sent)
  expect(await messages(kept, texts.length)).toEqual(texts)
  await writer.publishAsync('devices/a1/end', 'x', { qos: 1 })
  expect(await messages(clean, texts.length + 1)).toEqual([...texts, 'devices/a1/end x'])
})

test('a message that others overtake while it is retained comes to who subscribed', async () => {
  const { connect, messages } = await start({ options: roomy })
  const tls = await pki.device('a1')
  const reader = await connect(tls)
  await reader.subscribeAsync('devices/a1/#', { qos: 1 })
  const writer = await connect(tls)
  const sent = Array.from({ length: 100 }, (_, index) =>
    writer.publishAsync(`devices/a1/${index}`, 'x', { qos: 0, retain: index % 50 === 0 }),
  )
  await Promise.all(sent)
  expect(await messages(reader, 100)).toHaveLength(100)
})

const climate = 'devices/a1/events/com.acme.climate'
/** Without an ID of its own: each is another event. */
const reading = '{"temperature":1}'
const few = { sessionLimits: { ...roomy.sessionLimits, unreleasedPerDeviceMax: 5 } }

test('QoS 2 messages that a device does not release are bounded, and none beyond becomes an event (G7)', async () => {
  const { port, outbox, seen, when } = await start({ options: few })
  const tls = await pki.device('a1')
  const first = await rawConnection({ port, tls, clean: false })
  for (let id = 1; id <= 6; id += 1) first.write(publish(climate, reading, 2, id))
  await when(({ logs }) => logs.some(({ code }) => code === 'UNRELEASED_MAX'))
  await when(({ connections }) => connections === 0)
  expect(seen.notKept).toEqual(['unreleased'])
  const taken = outbox.stored.length
  expect(taken).toBeLessThanOrEqual(5)

  const second = await rawConnection({ port, tls, clean: false })
  const again = publish(climate, reading, 2, 1)
  again.writeUInt8(0x34 | 0x08, 0)
  second.write(again)
  await second.until(0x50)
  expect(outbox.stored).toHaveLength(taken)
  second.write(ack(0x62, 1))
  await second.until(0x70)
  second.write(publish(climate, reading, 2, 6))
  await second.until(0x50)
  expect(outbox.stored).toHaveLength(taken + 1)
  second.end()
})

test('a QoS 2 message that was withdrawn needs no release', async () => {
  const { port, outbox, when } = await start({ options: few })
  const tls = await pki.device('a1')
  outbox.shut()
  const first = await rawConnection({ port, tls, clean: false })
  for (let id = 1; id <= 5; id += 1) first.write(publish(climate, reading, 2, id))
  await outbox.untilWaiting(5)
  first.end()
  await when(({ published }) => published.length === 5)
  outbox.open()
  const second = await rawConnection({ port, tls, clean: false })
  for (let id = 11; id <= 15; id += 1) second.write(publish(climate, reading, 2, id))
  for (let id = 11; id <= 15; id += 1) await second.until(0x50)
  expect(outbox.stored).toHaveLength(5)
  second.end()
})

test('a device that connects under ever new client IDs makes the gateway keep no more than its bounds (G7)', async () => {
  const folder = join(pki.folder, 'ever-new')
  const { port, connect, broker, seen, when } = await start({ folder, options: few })
  const tls = await pki.device('a1')
  for (let index = 0; index < 8; index += 1) {
    const raw = await rawConnection({ port, tls, clean: false, clientId: `publishes-${index}` })
    raw.write(publish('devices/a1/state', 'x', 2, 1))
    if (index < 5) await raw.until(0x50)
    raw.end()
    await when(({ connections }) => connections === 0)
  }
  const answers: string[] = []
  for (let index = 0; index < 6; index += 1) {
    const client = await connect(tls, { clientId: `subscribes-${index}`, clean: false })
    const answer = client.subscribeAsync('devices/a1/cmd', { qos: 1 }).then(
      () => 'granted',
      () => 'ended',
    )
    answers.push(await answer)
    await client.endAsync(true)
  }
  expect(answers).toEqual(['granted', 'granted', 'granted', 'ended', 'ended', 'ended'])
  const writer = await connect(tls)
  await writer.publishAsync('devices/a1/cmd', 'x', { qos: 1 })
  await writer.endAsync()
  await when(({ connections }) => connections === 0)
  expect(seen.notKept.filter((what) => what === 'unreleased')).toHaveLength(3)
  await broker.close()

  const records = new Level<string, Buffer>(folder, { valueEncoding: 'buffer' })
  const names = (await records.keys().all()).map((key) => key.split(':')[0])
  await records.close()
  const count = (kind: string): number => names.filter((name) => name === kind).length
  expect([count('incoming'), count('subscriptions'), count('outgoing')]).toEqual([5, 3, 3])
})

test('what a clean session did not release is forgotten when it ends', async () => {
  const { port, seen, when } = await start({ options: few })
  const tls = await pki.device('a1')
  for (let index = 0; index < 20; index += 1) {
    const raw = await rawConnection({ port, tls, clientId: `c${index}` })
    raw.write(publish(climate, reading, 2, 1))
    await raw.until(0x50)
    raw.end()
    await when(({ connections }) => connections === 0)
  }
  expect(seen.notKept).toEqual([])
})
