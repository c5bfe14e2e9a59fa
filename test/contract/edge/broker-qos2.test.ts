import { once } from 'node:events'
import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Level } from 'level'
import { afterEach, beforeAll, expect, test, vi } from 'vitest'
import { createFakeOutbox } from '../../support/fakes/outbox.ts'
import { ack, publish, subscribe } from '../../support/edge/mqtt-bytes.ts'
import { packetIdOf, type RawConnection, rawConnection } from '../../support/edge/raw-connection.ts'
import { type TestBroker, useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()
let tls: { ca: Buffer; cert: Buffer; key: Buffer }
beforeAll(async () => {
  tls = await pki.device('a1')
})
// Before the brokers end.
afterEach(() => vi.restoreAllMocks())

const kept = ({ port }: TestBroker): Promise<RawConnection> => rawConnection({ port, tls, clean: false })

async function drop({ when }: TestBroker, raw: RawConnection): Promise<void> {
  raw.end()
  await when(({ connections }) => connections === 0)
}

test('a message that a kept session has received and not completed is released at each connect, across a restart', async () => {
  const folder = join(pki.folder, 'received')
  let broker = await start({ folder })
  let reader = await kept(broker)
  reader.write(subscribe(1, ['devices/a1/cmd', 2]))
  await reader.until(0x90)
  const writer = await broker.connect(tls)
  await writer.publishAsync('devices/a1/cmd', 'x', { qos: 2 })
  await writer.endAsync()
  const id = packetIdOf(await reader.until(0x34))
  reader.write(ack(0x50, id))
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
  reader.write(ack(0x70, id))
  reader.write(Buffer.from([0xc0, 0]))
  await reader.until(0xd0)
  await drop(broker, reader)
  reader = await kept(broker)
  reader.write(Buffer.from([0xc0, 0]))
  await reader.until(0xd0)
  expect(reader.got(0x62)).toBe(0)
  reader.end()
})

const climate = 'devices/a1/events/com.acme.climate'
/** Without an ID of its own. */
const message = (temperature: number, id = 1): Buffer =>
  publish(climate, JSON.stringify({ temperature }), 2, id)

function again(publish: Buffer): Buffer {
  publish.writeUInt8(publish.readUInt8(0) | 0x08, 0)
  return publish
}

async function takenBy(raw: RawConnection, publish: Buffer): Promise<void> {
  raw.write(publish)
  await raw.until(0x50)
}

async function release(raw: RawConnection, id = 1): Promise<void> {
  raw.write(ack(0x62, id))
  await raw.until(0x70)
}

async function ended(broker: TestBroker): Promise<void> {
  await broker.when(({ connections }) => connections === 0)
}

/** What a gateway that was killed now would leave behind. */
async function copyOf(folder: string): Promise<string> {
  const copy = `${folder}-killed`
  await cp(folder, copy, { recursive: true })
  await rm(join(copy, 'LOCK'))
  return copy
}

test('a message under the packet ID of one whose release a power cut undid is an event of its own (G1)', async () => {
  const folder = join(pki.folder, 'undone')
  const before = await start({ folder })
  let raw = await kept(before)
  await takenBy(raw, message(1))
  const cut = await copyOf(folder)
  await release(raw)
  before.outbox.shut()
  raw.write(message(2))
  await before.outbox.untilWaiting(1)
  await drop(before, raw)

  const after = await start({ folder: cut })
  raw = await kept(after)
  await takenBy(raw, again(message(2)))
  expect(after.outbox.stored).toHaveLength(1)
  raw.end()
})

test('a release is answered when it is on the disk, and not before (G1)', async () => {
  const broker = await start()
  const raw = await kept(broker)
  await takenBy(raw, message(1))
  const gate = new EventTarget()
  const open = once(gate, 'open')
  const begun = once(gate, 'begun')
  const prototype: { batch: (...given: unknown[]) => unknown } = Level.prototype
  const { batch } = prototype
  const synced: unknown[] = []
  vi.spyOn(prototype, 'batch').mockImplementation(async function (this: unknown, ...given: unknown[]) {
    synced.push(given[1])
    gate.dispatchEvent(new Event('begun'))
    await open
    await Reflect.apply(batch, this, given)
  })
  raw.write(ack(0x62, 1))
  await begun
  raw.write(Buffer.from([0xc0, 0]))
  await raw.until(0xd0)
  expect(raw.got(0x70)).toBe(0)
  gate.dispatchEvent(new Event('open'))
  await raw.until(0x70)
  expect(synced).toEqual([{ sync: true }])
  raw.end()
})

test('a release that cannot be written is not answered: the device repeats it, and loses nothing (G1)', async () => {
  const broker = await start()
  let raw = await kept(broker)
  await takenBy(raw, message(1))
  const failing = vi.spyOn(Level.prototype, 'batch').mockRejectedValue(new Error('IO error: No space left'))
  vi.spyOn(Level.prototype, 'del').mockRejectedValue(new Error('IO error: No space left'))
  raw.write(ack(0x62, 1))
  await ended(broker)
  expect(raw.got(0x70)).toBe(0)
  expect(failing).toHaveBeenCalled()
  vi.restoreAllMocks()

  raw = await kept(broker)
  await release(raw)
  broker.outbox.shut()
  raw.write(message(1))
  await broker.outbox.untilWaiting(1)
  await drop(broker, raw)
  broker.outbox.open()
  raw = await kept(broker)
  await takenBy(raw, again(message(1)))
  expect(broker.outbox.stored).toHaveLength(2)
  raw.end()
})

test('a new message under a packet ID that was never released is an event, and goes to who subscribed', async () => {
  const broker = await start()
  const reader = await broker.connect(tls)
  await reader.subscribeAsync(climate, { qos: 1 })
  const raw = await kept(broker)
  await takenBy(raw, message(1))
  await takenBy(raw, message(2))
  await takenBy(raw, again(message(2)))
  await takenBy(raw, again(message(3)))
  const texts = [1, 2, 3].map((temperature) => `${climate} {"temperature":${temperature}}`)
  expect(await broker.messages(reader, 3)).toEqual(texts)
  expect(broker.outbox.stored).toHaveLength(3)
  raw.end()
})

test('a message that is sent again without DUP, as some clients do, is one event, also after a reconnect (G4)', async () => {
  const broker = await start()
  const reader = await rawConnection({ port: broker.port, tls, clientId: 'reader' })
  reader.write(subscribe(1, [climate, 1]))
  await reader.until(0x90)
  let raw = await kept(broker)
  await takenBy(raw, message(1))
  await takenBy(raw, message(1))
  raw.end()
  await broker.when(({ connections }) => connections === 1)
  raw = await kept(broker)
  await takenBy(raw, message(1))
  await release(raw)
  await takenBy(raw, message(1))
  await reader.until(0x32)
  await reader.until(0x32)
  reader.write(Buffer.from([0xc0, 0]))
  await reader.until(0xd0)
  expect(reader.got(0x32)).toBe(0)
  expect(broker.outbox.stored).toHaveLength(2)
  raw.end()
  reader.end()
})

test('a clean session leaves no record of what it did not release, also when the gateway is killed', async () => {
  const folder = join(pki.folder, 'clean')
  const broker = await start({ folder })
  const raw = await rawConnection({ port: broker.port, tls })
  await takenBy(raw, message(1))
  await takenBy(raw, again(message(1)))
  expect(broker.outbox.stored).toHaveLength(1)
  const records = new Level<string, Buffer>(await copyOf(folder), { valueEncoding: 'buffer' })
  expect(await records.keys().all()).toEqual([])
  await records.close()
  raw.end()
})

test('a clean connection ends what its client ID kept, also what a takeover finds unfinished', async () => {
  const folder = join(pki.folder, 'ends')
  const broker = await start({ folder })
  const first = await kept(broker)
  await takenBy(first, message(1))
  broker.outbox.shut()
  first.write(message(2, 2))
  await broker.outbox.untilWaiting(1)
  const second = await rawConnection({ port: broker.port, tls })
  broker.outbox.open()
  const records = new Level<string, Buffer>(await copyOf(folder), { valueEncoding: 'buffer' })
  expect(await records.keys().all()).toEqual([])
  await records.close()
  await takenBy(second, again(message(1)))
  await takenBy(second, again(message(2, 2)))
  expect(broker.outbox.stored).toHaveLength(3)
  second.end()
})

test('a message that is sent again while it is being made durable is one event, and is distributed once (G4)', async () => {
  const outbox = createFakeOutbox()
  // It is in the write already: it cannot be withdrawn.
  const appendAll: typeof outbox.appendAll = (submissions, answered) =>
    outbox.appendAll(submissions, answered)
  const broker = await start({ options: { outbox: { appendAll } } })
  const reader = await rawConnection({ port: broker.port, tls, clientId: 'reader' })
  reader.write(subscribe(1, [climate, 1]))
  await reader.until(0x90)
  outbox.shut()
  const first = await kept(broker)
  first.write(message(1))
  await outbox.untilWaiting(1)
  first.end()
  const second = await kept(broker)
  second.write(again(message(1)))
  for (let index = 0; index < 3; index += 1) {
    second.write(Buffer.from([0xc0, 0]))
    await second.until(0xd0)
  }
  expect(second.got(0x50), 'not acknowledged before it is durable').toBe(0)
  outbox.open()
  await second.until(0x50)
  await reader.until(0x32)
  reader.write(Buffer.from([0xc0, 0]))
  await reader.until(0xd0)
  expect(reader.got(0x32)).toBe(0)
  expect(outbox.stored).toHaveLength(1)
  reader.end()
  second.end()
})

test('a message is one event, however often it is sent while its record cannot be written (G4)', async () => {
  const broker = await start()
  const reader = await rawConnection({ port: broker.port, tls, clientId: 'reader' })
  reader.write(subscribe(1, [climate, 1]))
  await reader.until(0x90)
  const failing = vi.spyOn(Level.prototype, 'put').mockRejectedValue(new Error('IO error: No space left'))
  for (let index = 0; index < 5; index += 1) {
    const raw = await kept(broker)
    raw.write(index === 0 ? message(1) : again(message(1)))
    await broker.when(({ connections }) => connections === 1)
    expect(raw.got(0x50)).toBe(0)
  }
  expect(failing.mock.calls.length).toBeGreaterThanOrEqual(5)
  vi.restoreAllMocks()
  const raw = await kept(broker)
  await takenBy(raw, again(message(1)))
  await takenBy(raw, again(message(1)))
  await reader.until(0x32)
  reader.write(Buffer.from([0xc0, 0]))
  await reader.until(0xd0)
  expect(reader.got(0x32)).toBe(0)
  expect(broker.outbox.stored).toHaveLength(1)
  reader.end()
  raw.end()
})
