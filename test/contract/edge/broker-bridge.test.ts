import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { useTestBrokers } from '../../support/edge/test-broker.ts'
import { obtainClients, type StockClient } from '../../support/packages.ts'

const { pki, start } = useTestBrokers()
const program: StockClient = 'mosquitto'
beforeAll(() => obtainClients(program), 120_000)

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address ? address.port : 0
}

/** A Mosquitto with the bridge of docs/BRIDGES.md, everything else as it comes; the port it listens on. */
async function startMosquitto(gatewayPort: number): Promise<number> {
  const folder = await mkdtemp(join(pki.folder, 'mosquitto-'))
  const file = (name: string): string => join(folder, name)
  const { cert, key } = await pki.device('bridge-1')
  await writeFile(file('bridge-1.crt'), cert)
  await writeFile(file('bridge-1.key'), key)
  const port = await freePort()
  await writeFile(
    file('mosquitto.conf'),
    `user root
listener ${port} 127.0.0.1
allow_anonymous true
connection tidegate
address 127.0.0.1:${gatewayPort}
bridge_cafile ${pki.caFile}
bridge_certfile ${file('bridge-1.crt')}
bridge_keyfile ${file('bridge-1.key')}
bridge_protocol_version mqttv311
remote_clientid bridge-1
cleansession false
topic zigbee2mqtt/# out 1
`,
  )
  const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` }
  const mosquitto = spawn(program, ['-c', file('mosquitto.conf')], { stdio: 'ignore', env })
  onTestFinished(async () => {
    mosquitto.kill('SIGTERM')
    await once(mosquitto, 'exit')
  })
  return port
}

test('a Mosquitto bridges with its defaults, and what it forwards are events', async () => {
  const { port, outbox, seen, when } = await start({
    routes: [
      { topic: 'zigbee2mqtt/bridge/#', action: 'ignore', devices: ['bridge-1'] },
      { topic: 'zigbee2mqtt/{subject}', type: 'io.zigbee2mqtt.state', devices: ['bridge-1'] },
    ],
  })
  const listensOn = await startMosquitto(port)
  // It says that it is there, on a topic of its own.
  await when(({ published }) => published.includes('ignored'))
  const sensor = await connectAsync(`mqtt://127.0.0.1:${listensOn}`)
  onTestFinished(() => sensor.endAsync(true))
  for (const temperature of [20.1, 20.2, 20.3])
    await sensor.publishAsync('zigbee2mqtt/kitchen', JSON.stringify({ temperature }), { qos: 1 })
  const stored = await outbox.until(3)
  expect(stored.map(({ event }) => [event.source, event.subject, event.data])).toEqual(
    [20.1, 20.2, 20.3].map((temperature) => ['/devices/bridge-1', 'kitchen', { temperature }]),
  )
  expect(seen.refused).toEqual([])
})
