import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { edgeConfigSchema } from '../../edge/config.ts'
import { runEdge } from '../../edge/main.ts'
import { systemClock } from '../../src/clock.ts'
import { createTestPki, type TestPki } from '../support/edge/test-broker.ts'
import { mountSmallDisk, type SmallDisk } from '../support/edge/small-disk.ts'

interface Edge {
  mqttPort: number
  /** Resolves with the first log line that bears this code. */
  said(code: string): Promise<void>
  stop(): Promise<void>
}

let disk: SmallDisk
let pki: TestPki
const clients: MqttClient[] = []

beforeEach(async () => {
  disk = await mountSmallDisk(48)
  pki = await createTestPki()
})
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true)
  await pki.close()
  await disk.unmount()
})

async function start(): Promise<Edge> {
  const listeners = new Map<unknown, () => void>()
  const log = pino({}, { write: (line) => listeners.get((JSON.parse(line) as { code?: unknown }).code)?.() })
  const stopping = new AbortController()
  const config = edgeConfigSchema.parse({
    gateway: 'gateway-1',
    dataDir: join(disk.path, 'data'),
    mqtt: {
      host: '127.0.0.1',
      port: 0,
      tls: { ca: pki.caFile, cert: pki.edge.certFile, key: pki.edge.keyFile },
    },
    outbox: { reserve: 0, diskFreeMin: 0 },
    uplink: { url: `amqp://127.0.0.1:${await deadPort()}` },
    ops: { port: 0 },
  })
  return new Promise((resolve, reject) => {
    const running = runEdge(config, {
      clock: systemClock,
      random: Math.random,
      log,
      signal: stopping.signal,
      onStarted: ({ mqttPort }) =>
        resolve({
          mqttPort,
          said: (code) => new Promise((heard) => listeners.set(code, heard)),
          async stop() {
            stopping.abort()
            await running
          },
        }),
    })
    running.catch(reject)
  })
}

/** A port on which nothing listens: there is no RabbitMQ. */
async function deadPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function connect({ mqttPort }: Edge): Promise<MqttClient> {
  const options = { ...(await pki.device('a1')), reconnectPeriod: 0 }
  const client = await connectAsync(`mqtts://127.0.0.1:${mqttPort}`, options)
  clients.push(client)
  return client
}

function publish(client: MqttClient, id: string): Promise<unknown> {
  const event = JSON.stringify({ specversion: '1.0', id, data: 1 })
  return client.publishAsync('devices/a1/events/com.acme.climate', event, { qos: 1 })
}

test('a gateway stops although its disk is full, and what it had not acknowledged it takes afterwards', async () => {
  const edge = await start()
  const device = await connect(edge)
  await publish(device, 'before')
  disk.fill()
  const failing = edge.said('STORE_UNAVAILABLE')
  // More than what is left of the page that was written last.
  const ids = Array.from({ length: 20 }, (_, index) => `meanwhile-${index}`)
  const acknowledged: string[] = []
  for (const id of ids) {
    publish(device, id).then(
      () => acknowledged.push(id),
      () => {},
    )
  }
  await failing
  await edge.stop()
  expect(acknowledged.length).toBeLessThan(ids.length)

  await disk.makeRoom()
  const again = await start()
  const returned = await connect(again)
  await Promise.all(ids.map((id) => publish(returned, id)))
  await again.stop()
})
