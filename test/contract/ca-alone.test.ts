import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAmqp } from '../../cloud/amqp/connection-rabbit.ts'
import { exchangeTopology } from '../../cloud/amqp/topology.ts'
import { declareTopology } from '../../cloud/amqp/topology-rabbit.ts'
import { cloudConfigSchema } from '../../cloud/config.ts'
import { loadCloudTls } from '../../cloud/tls.ts'
import { freePort } from '../../dev/servers/ports.ts'
import { type RabbitServer, startRabbit } from '../../dev/servers/rabbit/rabbit.ts'
import { edgeConfigSchema } from '../../edge/config.ts'
import { loadUplinkTls } from '../../edge/tls.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { createTestPki, type TestPki } from '../support/edge/test-broker.ts'
import { testUplink } from '../support/edge/test-uplink.ts'

/** Whose certificate is the broker's, and whose is not. */
let pki: TestPki
let another: TestPki
let rabbit: RabbitServer
let url: string
const dir = mkdtempSync(join(tmpdir(), 'tidegate-ca-alone-'))
beforeAll(async () => {
  pki = await createTestPki()
  another = await createTestPki()
  const port = await freePort()
  const settings = {
    'listeners.ssl.1': `127.0.0.1:${port}`,
    'ssl_options.cacertfile': pki.caFile,
    'ssl_options.certfile': pki.edge.certFile,
    'ssl_options.keyfile': pki.edge.keyFile,
    'ssl_options.verify': 'verify_none',
    'ssl_options.fail_if_no_peer_cert': 'false',
  }
  rabbit = await startRabbit({
    dir: join(dir, 'rabbit'),
    users: [{ name: 'app', password: 'app', permissions: { configure: '.*', write: '.*', read: '.*' } }],
    extraConfig: Object.entries(settings)
      .map(([key, value]) => `${key} = ${value}\n`)
      .join(''),
    say: () => {},
  })
  url = `amqps://app:app@localhost:${port}`
})
afterAll(async () => {
  await rabbit?.close()
  for (const each of [pki, another]) await each.close()
  rmSync(dir, { recursive: true, force: true })
})

/** Of a configuration that names a CA, and no certificate of ours. */
const cloudTls = (ca: string) =>
  loadCloudTls(cloudConfigSchema.parse({ broker: { url, tls: { ca } } }), systemClock, silentLog).broker
const uplinkTls = (ca: string) => {
  const mqtt = { tls: { ca, cert: 'unused', key: 'unused' } }
  const config = edgeConfigSchema.parse({ gateway: 'gw-1', mqtt, uplink: { url, tls: { ca } } })
  const tls = loadUplinkTls(config, new Date())
  return tls && { current: () => tls }
}

describe('a broker that asks for no certificate', () => {
  test('is reached by the cloud with a CA alone, and refused with another', async () => {
    const options = { url, connectionName: 'test', log: silentLog }
    const broker = await connectAmqp({ ...options, tls: cloudTls(pki.caFile) })
    await declareTopology(broker, exchangeTopology())
    await broker.close()
    await expect(connectAmqp({ ...options, tls: cloudTls(another.caFile) })).rejects.toMatchObject({
      code: 'BROKER_TLS',
    })
  })

  test('is reached by the uplink with a CA alone, and refused with another', async () => {
    const patience = new AbortController()
    const uplink = testUplink({ url, tls: uplinkTls(pki.caFile), exchange: 'amq.topic' })
    const session = await uplink.connect(patience.signal)
    expect(session.blocked).toBe(false)
    await uplink.close()
    const refused = new Promise((resolve) => {
      const log = Object.assign(Object.create(silentLog) as typeof silentLog, { warn: resolve })
      const other = testUplink({ url, tls: uplinkTls(another.caFile), log })
      other.connect(patience.signal).catch(() => {})
    })
    expect(await refused).toMatchObject({ code: 'SELF_SIGNED_CERT_IN_CHAIN' })
    patience.abort()
  })
})
