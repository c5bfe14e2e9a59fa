import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { AddressInfo } from 'node:net'
import { Aedes } from 'aedes'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { issueDevelopmentPki, type DevelopmentPki } from '../../../certs/development.ts'
import { connectDevice } from '../../../dev/fleet/fleet-mqtt.ts'
import { startFleet, type Fleet } from '../../../dev/fleet/fleet.ts'
import { eventId } from '../../../dev/fleet/random.ts'
import { ordinarySensors, troubleSensors, type Sensor } from '../../../dev/fleet/sensors.ts'
import { systemClock } from '../../../src/clock.ts'

let dir: string
let pki: DevelopmentPki
let broker: Aedes
let server: Server
let fleet: Fleet | undefined
let received: { deviceId: string; topic: string; payload: string }[]
let acknowledges: boolean
const sockets = new Set<TLSSocket>()

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tidegate-fleet-'))
  pki = await issueDevelopmentPki(dir, { gateway: 'gateway-1', devices: ['sensor-001', 'sensor-002'] })
})

afterAll(() => rm(dir, { recursive: true }))

beforeEach(async () => {
  received = []
  acknowledges = true
  broker = await Aedes.createBroker({
    authorizePublish(client, packet, done) {
      received.push({
        deviceId: client?.id ?? '',
        topic: packet.topic,
        payload: String(packet.payload),
      })
      if (acknowledges) done(null)
    },
  })
  server = createServer(
    {
      ca: await readFile(pki.caFile),
      cert: await readFile(pki.edge.certFile),
      key: await readFile(pki.edge.keyFile),
      requestCert: true,
      rejectUnauthorized: true,
    },
    (socket) => {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.once('close', () => sockets.delete(socket))
      broker.handle(socket)
    },
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})

afterEach(async () => {
  await fleet?.close()
  const closed = new Promise((resolve) => server.close(resolve))
  for (const socket of sockets) socket.destroy()
  await new Promise<void>((resolve) => broker.close(() => resolve()))
  await closed
})

function start(sensors: readonly Sensor[]): Fleet {
  const target = { host: '127.0.0.1', port: (server.address() as AddressInfo).port, caFile: pki.caFile }
  fleet = startFleet({
    sensors,
    clock: systemClock,
    connect(deviceId) {
      const files = pki.devices.find((device) => device.commonName === deviceId) ?? pki.devices[0]
      if (!files) throw new Error('the PKI has no devices')
      return connectDevice(target, { deviceId, certFile: files.certFile, keyFile: files.keyFile })
    },
  })
  return fleet
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}

/** Says so many things at once and is done. */
function burst(deviceId: string, count: number): Sensor {
  let n = 0
  return {
    deviceId,
    get dueMs() {
      return n < count ? 0 : undefined
    },
    read() {
      n += 1
      return [{ topic: `devices/${deviceId}/events/com.acme.x`, payload: String(n), fate: 'stored', n }]
    },
  }
}

test('every message is published once and stands acknowledged in the book', async () => {
  const running = start([burst('sensor-001', 120), burst('sensor-002', 30)])
  await running.finished
  await running.settled(AbortSignal.timeout(10_000))
  expect(running.book.totals()).toMatchObject({ published: 150, acknowledged: 150, unacknowledged: 0 })
  expect(received.filter((message) => message.deviceId === 'sensor-001').map((m) => m.payload)).toEqual(
    Array.from({ length: 120 }, (_, index) => String(index + 1)),
  )
  expect(running.resent).toBe(0)
})

test('a message without its PUBACK is kept and sent again over the next connection', async () => {
  acknowledges = false
  const running = start([burst('sensor-001', 10)])
  await until(() => received.length > 0)
  expect(running.book.totals()).toMatchObject({ published: 10, acknowledged: 0 })

  acknowledges = true
  received = []
  for (const socket of sockets) socket.destroy()
  await running.settled(AbortSignal.timeout(10_000))
  expect(running.book.totals()).toMatchObject({ published: 10, acknowledged: 10, unacknowledged: 0 })
  expect(new Set(received.map((message) => message.payload)).size).toBe(10)
  expect(running.resent).toBeGreaterThan(0)
})

test('a sensor whose gateway does not answer stops reading at its bound', async () => {
  acknowledges = false
  const running = start([burst('sensor-001', 1000)])
  await until(() => received.length > 0)
  expect(running.book.totals().published).toBe(200)
})

test('the book gives back the very IDs that went over the wire', async () => {
  const running = start(ordinarySensors({ run: 'r', seed: 1, count: 2, eventsPerSecond: 200 }))
  await until(() => running.book.totals().published > 40)
  running.stop()
  await running.settled(AbortSignal.timeout(10_000))
  const ids = [...running.book.acknowledgedEvents()].map(({ deviceId, n }) => eventId('r', deviceId, n))
  const onTheWire = received.map(({ payload }) => {
    const event = JSON.parse(payload) as { id?: string; Id?: string }
    return event.id ?? event.Id ?? ''
  })
  expect(new Set(ids)).toEqual(new Set(onTheWire))
  expect(ids).toHaveLength(onTheWire.length)
})

test('each misdeed is counted under where it must end', async () => {
  const running = start(troubleSensors({ run: 'r', seed: 1, periodMs: 100 }))
  await until(() => received.length > 12)
  running.stop()
  await running.settled(AbortSignal.timeout(10_000))
  const { byFate, published } = running.book.totals()
  expect(byFate.repeat.acknowledged).toBeGreaterThan(0)
  expect(byFate.rejected.acknowledged).toBeGreaterThan(2)
  expect(byFate.implausible.acknowledged).toBeGreaterThan(0)
  expect(published + byFate.repeat.published).toBe(received.length)
})
