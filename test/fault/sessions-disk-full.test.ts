import { randomBytes } from 'node:crypto'
import { truncateSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { MqttClient } from 'mqtt'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { mountSmallDisk, type SmallDisk } from '../support/edge/small-disk.ts'
import { createTestPki, startTestBroker, type TestBroker, type TestPki } from '../support/edge/test-broker.ts'

let disk: SmallDisk
let pki: TestPki
let broker: TestBroker

const start = (): Promise<TestBroker> =>
  startTestBroker(pki, { folder: join(disk.path, 'sessions'), options: { packetBytesMax: 1 << 20 } })

beforeEach(async () => {
  disk = await mountSmallDisk(48)
  pki = await createTestPki()
  broker = await start()
})
afterEach(async () => {
  await broker.close()
  await pki.close()
  await disk.unmount()
})

/** Fills the disk such that LevelDB can still write its log, but no table of it; from then on it writes nothing. */
async function failTheSessions(writer: MqttClient): Promise<void> {
  disk.fill()
  const filler = join(disk.path, 'filler')
  truncateSync(filler, (await stat(filler)).size - (5 << 20))
  const failed = (): boolean => broker.seen.logs.some(({ code }) => code === 'SESSIONS_UNAVAILABLE')
  const ended = new Promise<void>((resolve) => writer.once('close', () => resolve()))
  while (!failed() && writer.connected) {
    const published = writer.publishAsync('devices/a1/state', randomBytes(200_000), { qos: 1, retain: true })
    await Promise.race([published, ended])
  }
  await broker.when(failed)
}

test('a full disk under the sessions ends neither the gateway nor, once there is room, anything of theirs', async () => {
  const tls = await pki.device('a1')
  const will = { topic: 'devices/a1/gone', payload: Buffer.from('x'), qos: 0 as const, retain: false }
  const willed = await broker.connect(tls, { clientId: 'willed', will })
  const reader = await broker.connect(tls, { clientId: 'reader', clean: false })
  await reader.subscribeAsync('devices/a1/cmd', { qos: 1 })
  await reader.endAsync()
  await failTheSessions(await broker.connect(tls))

  // Its will cannot be removed, and its next one not be kept: that turns no device away.
  willed.stream.destroy()
  const again = await broker.connect(tls, { clientId: 'willed', will })
  await again.publishAsync('devices/a1/events/com.acme.climate', '{"temperature":1}', { qos: 1 })
  // Whoever needs nothing written is served.
  const plain = await broker.connect(tls)
  await plain.publishAsync('devices/a1/events/com.acme.climate', '{"temperature":1}', { qos: 1 })

  await disk.makeRoom()
  await vi.waitFor(async () => {
    const client = await broker.connect(tls)
    await Promise.race([
      client.publishAsync('devices/a1/cmd', 'back', { qos: 2 }),
      new Promise((_, reject) => client.once('close', () => reject(new Error('not acknowledged')))),
    ])
  }, 10_000)
  await broker.connect(tls, { clientId: 'willed', will })
  const back = await broker.connect(tls, { clientId: 'reader', clean: false })
  expect(await broker.messages(back, 1)).toContain('devices/a1/cmd back')
})

test('a disk that is full when the gateway starts costs no session', async () => {
  const tls = await pki.device('a1')
  const writer = await broker.connect(tls)
  await writer.publishAsync('devices/a1/config', 'kept', { qos: 1, retain: true })
  await broker.close()
  disk.fill()
  const before = await readdir(disk.path)

  await expect(start()).rejects.toMatchObject({ code: 'SESSIONS_UNAVAILABLE' })
  expect(await readdir(disk.path)).toEqual(before)
  await disk.makeRoom()
  broker = await start()
  const reader = await broker.connect(tls)
  await reader.subscribeAsync('devices/a1/config')
  expect(await broker.retained(reader, 1)).toEqual(['devices/a1/config kept'])
})
