import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type EdgeConfig, edgeConfigSchema } from '../../../edge/config.ts'
import { runEdge } from '../../../edge/main.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'
import { createTestPki, type TestPki } from '../../support/edge/test-broker.ts'

let pki: TestPki
let folder: string
const edges: Running[] = []
beforeAll(async () => {
  pki = await createTestPki()
  folder = await mkdtemp(join(tmpdir(), 'tidegate-edge-'))
})
afterAll(async () => {
  await pki.close()
  await rm(folder, { recursive: true, force: true })
})
afterEach(async () => {
  for (const edge of edges.splice(0)) await edge.stop()
})

interface Running {
  mqttPort: number
  opsPort: number
  stop(): Promise<void>
}

/** A port on which nothing listens: there is no RabbitMQ anywhere. */
async function deadPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function configOf(dataDir: string): Promise<EdgeConfig> {
  return edgeConfigSchema.parse({
    gateway: 'gateway-1',
    dataDir,
    mqtt: {
      host: '127.0.0.1',
      port: 0,
      tls: { ca: pki.caFile, cert: pki.edge.certFile, key: pki.edge.keyFile },
    },
    outbox: { reserve: 0 },
    uplink: { url: `amqp://127.0.0.1:${await deadPort()}` },
    ops: { port: 0 },
  })
}

async function run(config: EdgeConfig): Promise<Running> {
  const stopping = new AbortController()
  let ended: Promise<void> | undefined
  const ports = await new Promise<{ mqttPort: number; opsPort: number }>((resolve, reject) => {
    ended = runEdge(config, {
      clock: systemClock,
      random: Math.random,
      log: silentLog,
      signal: stopping.signal,
      onStarted: resolve,
    })
    ended.catch(reject)
  })
  const edge = {
    ...ports,
    async stop() {
      stopping.abort()
      await ended
    },
  }
  edges.push(edge)
  return edge
}

async function publish(port: number, id: string): Promise<void> {
  const client = await connectAsync(`mqtts://127.0.0.1:${port}`, {
    ...(await pki.device('a1')),
    reconnectPeriod: 0,
  })
  const event = JSON.stringify({ specversion: '1.0', id, source: 'x', type: 'com.acme.climate', data: 1 })
  await client.publishAsync('devices/a1/events/com.acme.climate', event, { qos: 1 })
  await client.endAsync()
}

async function ask(port: number, path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`)
  return { status: response.status, text: await response.text() }
}

test('an edge without any RabbitMQ takes events, is ready, and still has them after a restart', async () => {
  const config = await configOf(join(folder, 'alone'))
  const first = await run(config)
  await publish(first.mqttPort, 'one')
  await publish(first.mqttPort, 'one')
  const ready = await ask(first.opsPort, '/readyz')
  expect(ready.status).toBe(200)
  expect(Object.keys((JSON.parse(ready.text) as { checks: object }).checks)).toEqual([
    'mqtt',
    'outbox',
    'uplink',
  ])
  await first.stop()

  const second = await run(config)
  await publish(second.mqttPort, 'one')
  await publish(second.mqttPort, 'two')
  const { text } = await ask(second.opsPort, '/metrics')
  expect(text).toContain('tidegate_edge_outbox_events{lane="normal"} 2')
  expect(text).toContain('tidegate_edge_admitted_total{result="duplicate"} 1')
  expect(text).toContain('tidegate_edge_uplink_up 0')
  expect(text).toMatch(/tidegate_edge_certificate_days_left\{certificate="mqtt"\} \d+/)
  expect(text).not.toContain('a1')
})

test('what cannot start says why by its code, and leaves nothing open', async () => {
  const config = await configOf(join(folder, 'faulty'))
  const running = await run(await configOf(join(folder, 'other')))
  const stranger = await createTestPki()
  const file = join(folder, 'a-file')
  await writeFile(file, '')
  const wrong: [string, Partial<EdgeConfig>][] = [
    ['DATA_FOLDER_UNWRITABLE', { dataDir: join(file, 'below') }],
    ['DATA_FOLDER_UNWRITABLE', { dataDir: file }],
    ['DATA_FOLDER_UNWRITABLE', { dataDir: '/proc/nowhere' }],
    ['PORT_TAKEN', { mqtt: { ...config.mqtt, port: running.mqttPort } }],
    ['PORT_TAKEN', { ops: { ...config.ops, port: running.opsPort } }],
    ['TLS_WRONG_CA', { mqtt: { ...config.mqtt, tls: { ...config.mqtt.tls, ca: stranger.caFile } } }],
    ['TLS_FILE_CORRUPT', { mqtt: { ...config.mqtt, tls: { ...config.mqtt.tls, cert: file } } }],
    ['TLS_FILE_MISSING', { mqtt: { ...config.mqtt, tls: { ...config.mqtt.tls, key: `${file}.none` } } }],
    ['SCHEMA_FOLDER', { schemas: { ...config.schemas, folder: `${file}.none` } }],
  ]
  try {
    for (const [code, change] of wrong)
      await expect(run({ ...config, ...change })).rejects.toMatchObject({ code })
    await run(config)
  } finally {
    await stranger.close()
  }
})

test('two edges never share a data folder', async () => {
  const config = await configOf(join(folder, 'shared'))
  await run(config)
  await expect(run(config)).rejects.toMatchObject({ code: 'OUTBOX_LOCKED' })
})
