import { execFile } from 'node:child_process'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { connect as connectMqtt, type IClientOptions, type MqttClient } from 'mqtt'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Candidate } from '../../../src/contract/event.ts'
import { FakeClock } from '../../support/fakes/clock.ts'
import { createFakeOutbox, type FakeOutbox } from '../../support/fakes/outbox.ts'
import { obtainClients } from '../../support/packages.ts'
import {
  cheapPasswords,
  type CheapPasswords,
  type FurtherListener,
  furtherListeners,
  kinds,
  urlOf,
} from '../../support/edge/passwords.ts'
import { writeUsers } from '../../support/edge/write-users.ts'
import { type TestBroker, type TestBrokerOptions, useTestBrokers } from '../../support/edge/test-broker.ts'

const { pki, start } = useTestBrokers()
const climate = 'devices/a1/events/com.acme.climate'
const passwords: Record<string, string> = { a1: 'right-a1', a2: 'right-a2', a3: 'right-a3' }

const clients: MqttClient[] = []
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.endAsync(true)))
})

interface Place extends TestBroker {
  asked: CheapPasswords['asked']
  usersFile: string
  /** A client of the device that comes by a listener. */
  by: (kind: FurtherListener, device: string, options?: IClientOptions) => Promise<MqttClient>
  urlOf: (kind: FurtherListener) => string
}

let files = 0

/** A broker with every kind of listener. */
async function startAll(given: TestBrokerOptions = {}): Promise<Place> {
  const usersFile = await writeUsers(join(pki.folder, `users-${++files}.yaml`), passwords)
  const { derive, asked } = cheapPasswords()
  const broker = await start({
    files: {
      ca: pki.caFile,
      cert: pki.edge.certFile,
      key: pki.edge.keyFile,
      users: usersFile,
    },
    ...given,
    listeners: Object.values(furtherListeners),
    options: { derive, ...given.options },
  })
  const url = (kind: FurtherListener): string =>
    urlOf(furtherListeners[kind], broker.broker.ports[1 + kinds.indexOf(kind)] as number)
  return {
    ...broker,
    asked,
    usersFile,
    urlOf: url,
    async by(kind, device, options = {}) {
      const tls = await pki.device(device)
      const shown =
        furtherListeners[kind].auth === 'certificate'
          ? tls
          : { ca: tls.ca, username: device, password: passwords[device] as string }
      const client = connectMqtt(url(kind), { reconnectPeriod: 0, ...shown, ...options } as IClientOptions)
      clients.push(client)
      await new Promise<void>((resolve, reject) => {
        client.once('connect', () => resolve())
        client.once('close', () => reject(new Error('the connection was closed')))
        client.on('error', reject)
      })
      return client
    },
  }
}

const eventsOf = ({ stored }: FakeOutbox): Candidate[] => stored.map(({ event }) => event)

const closed = (client: MqttClient): Promise<void> =>
  new Promise((resolve) => {
    if (client.connected) client.once('close', () => resolve())
    else resolve()
  })

describe.each(kinds)('%s', (kind) => {
  const authmethod = furtherListeners[kind].auth === 'password' ? 'password' : undefined

  test('an event arrives under the device’s ID, and says how that was known', async () => {
    const { by, outbox } = await startAll()
    const client = await by(kind, 'a1')
    await client.publishAsync(climate, '{"temperature":1}', { qos: 1 })
    await client.publishAsync(climate, 'no JSON', { qos: 1 })
    await client.publishAsync(climate, '{"specversion":"1.0","authmethod":"none","data":{"temperature":2}}', {
      qos: 2,
    })
    expect(eventsOf(outbox)).toHaveLength(3)
    for (const event of eventsOf(outbox)) {
      expect(event.source).toBe('/devices/a1')
      expect(event.authmethod).toBe(authmethod)
    }
  })

  test('no PUBACK before the event is durable, and pings are answered meanwhile (G1)', async () => {
    const outbox = createFakeOutbox()
    const { by } = await startAll({ outbox })
    const client = await by(kind, 'a1', { keepalive: 1 })
    outbox.shut()
    let acknowledged = false
    const publishing = client
      .publishAsync(climate, '{"temperature":1}', { qos: 1 })
      .finally(() => (acknowledged = true))
    await new Promise<void>((resolve) => {
      client.on('packetreceive', ({ cmd }) => {
        if (cmd === 'pingresp') resolve()
      })
    })
    expect(acknowledged).toBe(false)
    outbox.open()
    await publishing
  })

  test('its will is published when it goes without a word, and says how its device was known', async () => {
    const { by, outbox, when } = await startAll()
    const will = { topic: climate, payload: Buffer.from('{"temperature":9}'), qos: 1, retain: false } as const
    const client = await by(kind, 'a1', { will })
    client.stream.destroy()
    await when(({ published }) => published.length > 0)
    expect(eventsOf(outbox)[0]).toMatchObject({ source: '/devices/a1', data: { temperature: 9 } })
    expect(eventsOf(outbox)[0]?.authmethod).toBe(authmethod)
  })

  test('it takes the place of its own session, by whichever listener that came', async () => {
    const { by, connect } = await startAll()
    const first = await connect(await pki.device('a1'), { clientId: 'one' })
    const gone = closed(first)
    const second = await by(kind, 'a1', { clientId: 'one' })
    await gone
    const goneAgain = closed(second)
    await connect(await pki.device('a1'), { clientId: 'one' })
    await goneAgain
    expect(second.connected).toBe(false)
  })

  test('it may not speak as another device, nor send a longer packet than others', async () => {
    const { by, seen, when, outbox } = await startAll()
    const stranger = await by(kind, 'a1')
    stranger.publish('devices/a2/events/com.acme.climate', '{}', { qos: 1 })
    await closed(stranger)
    const wordy = await by(kind, 'a1')
    wordy.publish(climate, 'x'.repeat(5000), { qos: 1 })
    await closed(wordy)
    await when(({ ended }) => ended.length > 0)
    expect(seen.ended[0]).toBe('topic-forbidden')
    expect(eventsOf(outbox)).toEqual([])
  })

  test('a device that does not wait for acknowledgements is read no further than the bound (G7)', async () => {
    const outbox = createFakeOutbox()
    const { by } = await startAll({ outbox, options: { inFlightMax: 4 } })
    const client = await by(kind, 'a1')
    outbox.shut()
    const all = Array.from({ length: 60 }, (_, index) =>
      client.publishAsync(
        'devices/a1/events/com.acme.flow',
        JSON.stringify({ index, pad: 'x'.repeat(900) }),
        { qos: 1 },
      ),
    )
    await outbox.untilWaiting(1)
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    // Those of one read are taken together.
    expect(outbox.waiting).toBeLessThan(60)
    outbox.open()
    await Promise.all(all)
    expect(eventsOf(outbox).map(({ data }) => (data as { index: number }).index)).toEqual(
      all.map((_, index) => index),
    )
  })
})

test('what a device may have open is counted over all listeners (G7)', async () => {
  const { by, connect, seen, when } = await startAll({ options: { connectionsPerDeviceMax: 3 } })
  await connect(await pki.device('a1'), { clientId: 'c-0' })
  await by('password over TLS', 'a1', { clientId: 'c-1' })
  await by('certificate over wss', 'a1', { clientId: 'c-2' })
  await expect(by('password over TCP', 'a1', { clientId: 'c-3' })).rejects.toThrow(/Server unavailable/)
  await when(({ refused }) => refused.length > 0)
  expect(seen.refused).toEqual(['connections-per-device-max'])
  expect(seen.connections).toBe(3)
  await by('password over TCP', 'a2')
})

test.each(['0.0.0.0', '::', '0::ffff:0:0'])(
  'no listener without TLS is at every interface, whatever name has led to %s',
  async (host) => {
    const inClear = { ...furtherListeners['password over TCP'], host }
    await expect(start({ listeners: [inClear] })).rejects.toMatchObject({ code: 'LISTEN_FAILED' })
  },
)

test('a stop ends the connections of every listener, and those that are half made', async () => {
  const { by, broker, urlOf } = await startAll()
  const all = await Promise.all(
    kinds.map((kind, index) => by(kind, 'a1', { clientId: `c-${index}` }).catch(() => by(kind, 'a2'))),
  )
  const { Socket } = await import('node:net')
  const half = new Socket()
  half.on('error', () => {})
  const over = new Promise((resolve) => half.once('close', resolve))
  await new Promise<void>((resolve) => {
    half.connect({ host: '127.0.0.1', port: Number(new URL(urlOf('password over TCP')).port) }, resolve)
  })
  await Promise.all([broker.close(), ...all.map(closed), over])
  expect(all.filter(({ connected }) => connected)).toEqual([])
})

test('a will that the next run publishes says as well how its device was known', async () => {
  const folder = join(pki.folder, 'wills')
  const outbox = createFakeOutbox()
  const { by } = await startAll({ folder, outbox })
  outbox.shut()
  const will = { topic: climate, payload: Buffer.from('{"temperature":9}'), qos: 1, retain: false } as const
  const client = await by('password over TLS', 'a1', { will })
  client.stream.destroy()
  await outbox.untilWaiting(1)
  const left = `${folder}-left`
  await cp(folder, left, { recursive: true, filter: (file) => !file.endsWith('LOCK') })
  const clock = new FakeClock(Date.now())
  const next = await start({ folder: left, options: { clock } })
  await clock.advance(240_000)
  const [published] = await next.outbox.until(1)
  expect(published?.event).toMatchObject({ source: '/devices/a1', authmethod: 'password' })
})

describe('a stock client', () => {
  beforeAll(() => obtainClients('mosquitto_pub'), 120_000)

  test.each(['password over TLS', 'password over TCP'] as const)('publishes with a %s', async (kind) => {
    const { urlOf, outbox } = await startAll()
    const { port } = new URL(urlOf(kind))
    const secured = furtherListeners[kind].tls ? ['--cafile', pki.caFile] : []
    const to = ['-h', '127.0.0.1', '-p', port, ...secured, '-u', 'a1', '-q', '1', '-t', climate]
    const publish = promisify(execFile)
    await publish('mosquitto_pub', [...to, '-P', passwords['a1'] as string, '-m', '{"temperature":3}'])
    expect(eventsOf(outbox)).toMatchObject([{ source: '/devices/a1', data: { temperature: 3 } }])
    await expect(publish('mosquitto_pub', [...to, '-P', 'wrong', '-m', '{}'])).rejects.toThrow(
      /not authorised/i,
    )
    await expect(publish('mosquitto_pub', ['-V', '5', ...to, '-P', 'x', '-m', '{}'])).rejects.toThrow(
      /protocol version/i,
    )
  })
})
