import { mkdtemp, rm } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectMqtt, type IClientOptions, type MqttClient } from 'mqtt'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { pino } from 'pino'
import { createAuthority } from '../../../certs/authority.ts'
import { issueCertificate, type IssuedCertificate } from '../../../certs/issue.ts'
import { loadDecoders } from '../../../edge/admission/codecs/route-decoders.ts'
import { createAdmission } from '../../../edge/admission/admission.ts'
import { createSchemaCheck } from '../../../edge/admission/schema-check.ts'
import { type Broker, type BrokerOptions, startBroker } from '../../../edge/mqtt/broker-aedes.ts'
import type { ListenerOptions } from '../../../edge/mqtt/entrance/gate.ts'
import { type BrokerObserver, silentBrokerObserver } from '../../../edge/mqtt/observer.ts'
import { createIngest, type Ingest, type IngestOptions } from '../../../edge/admission/ingest.ts'
import { createRoutes, type Route } from '../../../edge/admission/routes/routes.ts'
import { createTopicRules } from '../../../edge/admission/routes/topics.ts'
import { systemClock } from '../../../src/clock.ts'
import { loadSchemas } from '../../../src/schemas/folder.ts'
import { loadTrust, type TrustFiles } from '../../../edge/mqtt/trust/files.ts'
import { startTrust, type Trust, type TrustOptions } from '../../../edge/mqtt/trust/trust.ts'
import { createFakeOutbox, type FakeOutbox } from '../fakes/outbox.ts'

/** A CA and certificates in a folder that goes away with `close()`. */
export interface TestPki {
  folder: string
  caFile: string
  edge: IssuedCertificate
  device(id: string): Promise<{ ca: Buffer; cert: Buffer; key: Buffer }>
  expired(id: string): Promise<{ ca: Buffer; cert: Buffer; key: Buffer }>
  gateway(id: string): Promise<{ ca: Buffer; cert: Buffer; key: Buffer }>
  close(): Promise<void>
}

export async function createTestPki(): Promise<TestPki> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-broker-'))
  const authority = await createAuthority(join(folder, 'pki'))
  const issue = (commonName: string, more: object = {}) =>
    issueCertificate(authority, { commonName, kind: 'client', outDir: join(folder, 'issued'), ...more })
  const read = ({ certFile, keyFile }: IssuedCertificate) => ({
    ca: readFileSync(authority.certFile),
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
  })
  const edge = await issueCertificate(authority, {
    commonName: 'edge',
    kind: 'server',
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    outDir: join(folder, 'issued'),
  })
  return {
    folder,
    caFile: authority.certFile,
    edge,
    device: async (id) => read(await issue(id)),
    expired: async (id) => read(await issue(id, { now: new Date(Date.now() - 10 * 86_400_000), days: 5 })),
    gateway: async (id) => read(await issue(id, { role: 'gateway' })),
    close: () => rm(folder, { recursive: true, force: true }),
  }
}

/** For one file of tests: certificates that all of them share, and brokers that end with the test that started them. */
export function useTestBrokers(): {
  pki: TestPki
  start: (options?: TestBrokerOptions) => Promise<TestBroker>
} {
  const pki = {} as TestPki
  const brokers: TestBroker[] = []
  beforeAll(async () => {
    Object.assign(pki, await createTestPki())
  })
  afterAll(() => pki.close())
  afterEach(async () => {
    for (const broker of brokers.splice(0)) await broker.close()
  })
  return {
    pki,
    async start(options = {}) {
      const broker = await startTestBroker(pki, options)
      brokers.push(broker)
      return broker
    },
  }
}

export interface Seen {
  published: string[]
  refused: string[]
  quarantined: string[]
  notKept: string[]
  /** Why connections were ended. */
  ended: string[]
  /** What became of reloads of `mqtt.tls`. */
  reloads: string[]
  connections: number
  logs: Record<string, unknown>[]
}

export interface TestBroker {
  port: number
  outbox: FakeOutbox
  seen: Seen
  /** Resolves once `condition` holds; looked at whenever the broker reports something. */
  when: (condition: (seen: Seen) => boolean) => Promise<void>
  connect: (tls: object, options?: IClientOptions) => Promise<MqttClient>
  /** `<topic> <payload>` of each message a client was sent, from its first packet on. */
  messages: (client: MqttClient, count: number) => Promise<string[]>
  /** Those of them that were sent because they had been retained. */
  retained: (client: MqttClient, count: number) => Promise<string[]>
  broker: Broker
  trust: Trust
  close(): Promise<void>
}

export interface TestBrokerOptions {
  folder?: string
  outbox?: FakeOutbox
  /** Of `mqtt.tls`; default: those of the certificates. */
  files?: TrustFiles
  stale?: TrustOptions['stale']
  /** Besides the one of certificates. */
  listeners?: ListenerOptions[]
  routes?: Route[]
  subscribe?: string[]
  options?: Partial<BrokerOptions & IngestOptions>
}

let folders = 0

/** The real broker on a free port of loopback, with a fake outbox behind it. */
export async function startTestBroker(pki: TestPki, given: TestBrokerOptions = {}): Promise<TestBroker> {
  const seen: Seen = {
    published: [],
    refused: [],
    quarantined: [],
    notKept: [],
    ended: [],
    reloads: [],
    connections: 0,
    logs: [],
  }
  let watchers: { condition: (seen: Seen) => boolean; resolve: () => void }[] = []
  const look = (): void => {
    watchers = watchers.filter(({ condition, resolve }) => {
      if (!condition(seen)) return true
      resolve()
      return false
    })
  }
  const noting =
    <T>(list: T[]) =>
    (what: T): void => {
      list.push(what)
      setImmediate(look)
    }
  const observer: BrokerObserver = {
    ...silentBrokerObserver,
    published: noting(seen.published),
    connectionRefused: noting(seen.refused),
    quarantined: noting(seen.quarantined),
    notKept: noting(seen.notKept),
    connectionEnded: noting(seen.ended),
    trustReloaded: noting(seen.reloads),
    connections(open) {
      seen.connections = open
      setImmediate(look)
    },
  }
  const log = pino(
    { level: 'debug', base: {} },
    {
      write(line: string) {
        noting(seen.logs)(JSON.parse(line) as Record<string, unknown>)
      },
    },
  )
  const files = given.files ?? { ca: pki.caFile, cert: pki.edge.certFile, key: pki.edge.keyFile }
  const loaded = await loadTrust(files, new Date())
  const clock = given.options?.clock ?? systemClock
  const trust = startTrust({ files, stale: given.stale ?? 'accept', loaded, clock, log })
  const outbox = given.outbox ?? createFakeOutbox()
  const configured = given.routes ?? []
  const routes = createRoutes(configured, loadDecoders(configured, { textBytesMax: 1024 }))
  const clients: MqttClient[] = []
  const inboxes = new Map<MqttClient, { all: string[]; retained: string[] }>()
  const options = {
    listeners: [
      { host: '127.0.0.1', port: 0, auth: 'certificate' as const, tls: true },
      ...(given.listeners ?? []),
    ],
    trust,
    connectionsMax: 50,
    handshakesMax: 50,
    connectionsPerDeviceMax: 4,
    handshakeTimeoutMs: 5000,
    packetBytesMax: 4096,
    inFlightMax: 64,
    inFlightBytesMax: 1 << 24,
    inFlightBytesPerDeviceMax: 1 << 22,
    ratesOf: () => ({}),
    sessionsFolder: given.folder ?? join(pki.folder, `sessions-${++folders}`),
    sessionLimits: {
      queuedMax: 5,
      subscriptionsPerDeviceMax: 3,
      retainedMax: 100,
      retainedPerDeviceMax: 3,
      bytesPerDeviceMax: 1 << 26,
      unreleasedPerDeviceMax: 300,
    },
    rules: createTopicRules({
      subscribe: given.subscribe ?? [],
      isRouted: (deviceId, topic) => routes.match(deviceId, topic) !== undefined,
      isIgnored: (deviceId, topic) => routes.ignores(deviceId, topic),
    }),
    routes,
    admit: createAdmission({
      checkSchema: createSchemaCheck({
        schemas: loadSchemas(new URL('../../../schemas', import.meta.url).pathname),
        unknownTypes: 'accept',
      }),
      types: {},
      payloadBytesMax: 1024,
      quarantineBytesMax: 100,
      clockSkewMaxMs: 86_400_000,
      timeAgeMaxMs: 366 * 86_400_000,
      clock: systemClock,
      random: Math.random,
    }),
    outbox,
    observer,
    clock: systemClock,
    random: Math.random,
    log,
    ...given.options,
  }
  const broker = await startBroker({ ...options, ingest: ingestOf(options) })
  const test: TestBroker = {
    port: broker.port,
    outbox,
    seen,
    broker,
    trust,
    when: (condition) =>
      new Promise((resolve) => {
        watchers.push({ condition, resolve })
        look()
      }),
    async connect(tls, options = {}) {
      const url = `mqtts://127.0.0.1:${broker.port}`
      const client = connectMqtt(url, { reconnectPeriod: 0, ...options, ...tls })
      const inbox: { all: string[]; retained: string[] } = { all: [], retained: [] }
      client.on('message', (topic, payload, { retain }) => {
        noting(inbox.all)(`${topic} ${payload.toString()}`)
        if (retain) noting(inbox.retained)(`${topic} ${payload.toString()}`)
      })
      inboxes.set(client, inbox)
      clients.push(client)
      await new Promise<void>((resolve, reject) => {
        client.once('connect', () => resolve())
        client.once('close', () => reject(new Error('the connection was closed')))
        client.on('error', reject)
      })
      return client
    },
    async messages(client, count) {
      const messages = inboxes.get(client)?.all ?? []
      await test.when(() => messages.length >= count)
      return messages
    },
    async retained(client, count) {
      const messages = inboxes.get(client)?.retained ?? []
      await test.when(() => messages.length >= count)
      return messages
    },
    async close() {
      outbox.open()
      await Promise.all(clients.map((client) => client.endAsync(true)))
      await broker.close()
      trust.close()
    },
  }
  return test
}

/** Either way: what a device publishes to topics of events goes past aedes, or through it. `vitest.config.ts` runs the broker's suites on both. */
function ingestOf(options: IngestOptions): Ingest {
  const ingest = createIngest(options)
  if (process.env['TIDEGATE_TEST_WAY'] === 'aedes') ingest.eventAt = () => undefined
  return ingest
}
