import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parse } from 'yaml'
import { expect, test } from 'vitest'
import { loadCloudConfig } from '../../../cloud/config.ts'
import { edgeConfigSchema, loadEdgeConfig } from '../../../edge/config.ts'
import { brokerSettings } from '../../../edge/settings.ts'
import { TidegateError } from '../../../src/errors.ts'

const example = new URL('../../../config/edge.example.yaml', import.meta.url).pathname
const least = {
  gateway: 'g1',
  mqtt: { tls: { ca: 'ca.crt', cert: 'edge.crt', key: 'edge.key' } },
  uplink: { url: 'amqps://cloud.example' },
}

function faultsOf(config: unknown, env: Record<string, string> = {}): string[] {
  const file = join(mkdtempSync(join(tmpdir(), 'tidegate-config-')), 'edge.yaml')
  writeFileSync(file, JSON.stringify(config))
  try {
    loadEdgeConfig(file, env)
    return []
  } catch (error) {
    if (!(error instanceof TidegateError)) throw error
    return error.message
      .split('\n')
      .slice(1)
      .map((line) => line.trim())
  }
}

const withoutLine = (fault: string): string => fault.replace(/ \(line \d+\)$/, '')

test('the example loads, and its paths start at its folder', () => {
  const config = loadEdgeConfig(example, {})
  expect(config.gateway).toBe('gateway-1')
  expect(config.mqtt.tls.ca).toBe(new URL('../../../.tidegate/pki/ca.crt', import.meta.url).pathname)
  expect(config.dataDir).toBe(new URL('../../../.tidegate/edge', import.meta.url).pathname)
})

test('the example shows every key with its default', () => {
  const shown = parse(readFileSync(example, 'utf8')) as Record<string, unknown>
  const defaults = edgeConfigSchema.parse(least)
  const loaded = loadEdgeConfig(example, {})
  for (const key of ['outbox', 'ops', 'log'] as const) expect(loaded[key]).toEqual(defaults[key])
  const { tls: _tls, url: _url, ...uplink } = loaded.uplink
  const { tls: _noTls, url: _noUrl, ...uplinkDefaults } = defaults.uplink
  expect(uplink).toEqual(uplinkDefaults)
  const { tls: _certs, ...mqtt } = loaded.mqtt
  const { tls: _files, ...mqttDefaults } = defaults.mqtt
  expect(mqtt).toEqual(mqttDefaults)
  const { types: _types, ...events } = loaded.events
  const { types: _none, ...eventsDefaults } = defaults.events
  expect(events).toEqual(eventsDefaults)
  expect(Object.keys(shown).toSorted()).toEqual(Object.keys(defaults).toSorted())
})

test('schema files of routes start at its folder, and what a route says of its payloads is held together', () => {
  const file = join(mkdtempSync(join(tmpdir(), 'tidegate-config-')), 'edge.yaml')
  const route = { topic: 'x/{device}', type: 'com.acme.x', format: 'avro' }
  const routes = [
    { ...route, schema: ['a.avsc', '/b.avsc'] },
    { ...route, schema: 'c.avsc', encoding: 'binary' },
  ]
  writeFileSync(file, JSON.stringify({ ...least, routes }))
  const folder = dirname(file)
  expect(loadEdgeConfig(file, {}).routes.map(({ schema }) => schema)).toEqual([
    [join(folder, 'a.avsc'), '/b.avsc'],
    join(folder, 'c.avsc'),
  ])
  expect(
    faultsOf({
      ...least,
      routes: [route, { ...route, format: 'protobuf' }, { ...route, format: 'cbor', encoding: 'binary' }],
    }).map(withoutLine),
  ).toEqual([
    'routes[0].schema: is required for avro: the file it was written with',
    'routes[1].schema: is required for protobuf: the file it was written with',
    'routes[1].message: is required for protobuf, with its package: com.acme.Reading',
    'routes[2].encoding: is for avro, and the format here is cbor',
  ])
})

test('what has no default is asked for by name', () => {
  expect(faultsOf({})).toEqual(['gateway: is required', 'mqtt: is required', 'uplink: is required'])
})

test('every fault is named at once, by its path', () => {
  const faults = faultsOf({
    ...least,
    gateway: 'no good',
    mqtt: { ...least.mqtt, port: 99_999, subscribe: ['a/#/b'], prot: 1 },
    events: { types: { nodots: {} }, clockSkewMax: 'a while' },
    routes: [{ topic: 'tele/{device}/SENSOR' }, { topic: 'x/{name}', type: 'a.b' }],
    uplink: { url: 'http://x', reconnect: { min: '2s', max: '1s' } },
    outbox: { deviceShare: 2, full: 'panic' },
  })
  expect(faults.map((fault) => fault.split(':')[0])).toEqual([
    'gateway',
    'mqtt.port',
    'mqtt.subscribe[0]',
    'mqtt.prot',
    'events.clockSkewMax',
    'events.types.nodots',
    'routes[0].type',
    'routes[1].topic',
    'outbox.deviceShare',
    'outbox.full',
    'uplink.url',
    'uplink.reconnect.min',
  ])
})

test('no device has a rate in the high lane unless it is configured: it would part what belongs together (G6)', () => {
  expect(edgeConfigSchema.parse(least).events.highPerDevice).toBeUndefined()
  expect(
    edgeConfigSchema.parse({ ...least, events: { highPerDevice: { burst: 5 } } }).events.highPerDevice,
  ).toEqual({
    eventsPerSecond: 100,
    burst: 5,
  })
})

test('every fault of a profile is named by its path', () => {
  const faults = faultsOf({
    ...least,
    profiles: {
      alarms: { devices: ['a1'], lanes: ['urgent'], rate: 5 },
      empty: { devices: [] },
      high: { devices: ['h1'], lanes: ['high'] },
    },
  })
  expect(faults.map(withoutLine)).toEqual([
    expect.stringMatching(/^profiles\.alarms\.lanes\[0\]: /),
    expect.stringMatching(/^profiles\.alarms\.rate: /),
    'profiles.empty.devices: must name at least one device',
    'profiles.high.lanes: must name normal, where whatever is lowered goes: [normal], or leave it out for both',
  ])
  const profiles = {
    default: { devices: ['a'] },
    meters: { devices: ['m-*', 'm-1', 'no good', '*-m'], types: ['nodots', 'dev.tidegate.*', 'com.acme.*'] },
    spares: { devices: ['m-1'], lanes: ['normal'] },
    nobody: { types: ['com.acme.climate'] },
  }
  expect(faultsOf({ ...least, profiles }).map(withoutLine)).toEqual([
    'profiles.default.devices: default is for devices of no other profile: leave it out',
    'profiles.meters.devices[2]: no good is neither a device ID nor the beginning of one and a *',
    'profiles.meters.devices[3]: *-m is neither a device ID nor the beginning of one and a *',
    'profiles.meters.types[0]: must be an event type such as com.acme.climate, or the beginning of types and a * such as com.acme.*',
    'profiles.meters.types[1]: types under dev.tidegate are the gateway’s own',
    'profiles.spares.devices[0]: m-1 is in profile meters already',
    'profiles.nobody.devices: is required: only default goes without',
  ])
})

test('a payload limit that could never be met by a packet is a fault', () => {
  expect(faultsOf({ ...least, events: { payloadBytesMax: '2MiB' } })).toEqual([
    'events.payloadBytesMax: must be below mqtt.packetBytesMax, or nothing over it could be quarantined (line 1)',
  ])
})

test('a rate of bytes that would hold a packet back for longer than a keep alive is a fault (G7)', () => {
  const [fault] = faultsOf({ ...least, mqtt: { ...least.mqtt, limits: { bytesPerSecond: '10KiB' } } })
  expect(fault).toContain(
    'mqtt.limits.bytesPerSecond: must let through a packet of mqtt.packetBytesMax in 30 s',
  )
  expect(faultsOf({ ...least, mqtt: { ...least.mqtt, limits: { bytesPerSecond: '35KiB' } } })).toEqual([])
  const profiles = { meters: { devices: ['meter-*'], limits: { bytesPerSecond: '10KiB' } } }
  expect(faultsOf({ ...least, profiles })[0]).toContain(
    'profiles.meters.limits.bytesPerSecond: must let through',
  )
})

test('a device has the limits of its profile, and what that leaves out as all have it (G7)', () => {
  const file = join(mkdtempSync(join(tmpdir(), 'tidegate-config-')), 'edge.yaml')
  const profiles = {
    meters: { devices: ['meter-*'], limits: { packetsPerSecond: 5 } },
    panels: { devices: ['panel-1'], lanes: ['normal'] },
  }
  const mqtt = { ...least.mqtt, limits: { packetsPerSecond: 100, connectsPerSecond: 1 } }
  writeFileSync(file, JSON.stringify({ ...least, mqtt, profiles }))
  const { ratesOf } = brokerSettings(loadEdgeConfig(file, {}))
  expect(ratesOf('meter-7')).toEqual({ packetsPerSecond: 5, connectsPerSecond: 1 })
  for (const device of ['panel-1', 'sensor-1'])
    expect(ratesOf(device)).toEqual({ packetsPerSecond: 100, connectsPerSecond: 1 })
})

test('the environment wins over the file, key by key', () => {
  const config = loadEdgeConfig(example, {
    TIDEGATE_EDGE__UPLINK__URL: 'amqps://elsewhere',
    TIDEGATE_EDGE__OUTBOX__DEDUP__AGE: '2h',
    TIDEGATE_EDGE__DATA_DIR: '/var/lib/tidegate',
    TIDEGATE_EDGE__MQTT__SUBSCRIBE: '[a/#]',
    TIDEGATE_EDGE__UPLINK__BATCH__EVENTS_MAX: '1',
    TIDEGATE_EDGE__UPLINK__BATCH__COMPRESS: 'true',
  })
  expect(config.uplink.batch).toEqual({ eventsMax: 1, bytesMax: 65_536, compress: true })
  expect(config.uplink.url).toBe('amqps://elsewhere')
  expect(config.outbox.dedup).toEqual({ age: 7_200_000, count: 1_000_000 })
  expect(config.dataDir).toBe('/var/lib/tidegate')
  expect(config.mqtt.subscribe).toEqual(['a/#'])
})

test.each([
  ['uplink', { connectTimeout: 0 }, 'uplink.connectTimeout: must be at least 100ms'],
  ['uplink', { connectTimeout: '1d' }, 'uplink.connectTimeout: must be at most 10m'],
  ['uplink', { confirmTimeout: 0 }, 'uplink.confirmTimeout: must be at least 1s'],
  ['uplink', { confirmTimeout: '30d' }, 'uplink.confirmTimeout: must be at most 24h'],
  ['uplink', { heartbeat: 0 }, 'uplink.heartbeat: must be at least 1s'],
  ['uplink', { heartbeat: '24h' }, 'uplink.heartbeat: must be at most 65535s'],
  ['uplink', { reconnect: { min: 0 } }, 'uplink.reconnect.min: must be at least 1ms'],
  ['uplink', { reconnect: { max: '30d' } }, 'uplink.reconnect.max: must be at most 24h'],
  ['uplink', { batch: { eventsMax: 0 } }, 'uplink.batch.eventsMax: '],
  ['uplink', { batch: { eventsMax: 10_001 } }, 'uplink.batch.eventsMax: '],
  ['uplink', { batch: { bytesMax: 100 } }, 'uplink.batch.bytesMax: must be at least 1KiB'],
  ['uplink', { batch: { bytesMax: '16MiB' } }, 'uplink.batch.bytesMax: must be at most 8MiB'],
  ['uplink', { batch: { compress: 'deflate' } }, 'uplink.batch.compress: '],
  ['uplink', { batch: { eventMax: 5 } }, 'uplink.batch.eventMax: '],
  ['mqtt', { handshakeTimeout: 0 }, 'mqtt.handshakeTimeout: must be at least 100ms'],
  ['mqtt', { handshakeTimeout: '30d' }, 'mqtt.handshakeTimeout: must be at most 10m'],
  ['mqtt', { inFlightBytesMax: 0 }, 'mqtt.inFlightBytesMax: must be at least 1KiB'],
  ['mqtt', { packetBytesMax: '1GiB' }, 'mqtt.packetBytesMax: must be at most 256MiB'],
  ['outbox', { bytesMax: 0 }, 'outbox.bytesMax: must be at least 1MiB'],
  ['outbox', { dedup: { count: 1e12 } }, 'outbox.dedup.count: '],
  ['ops', { stallAfter: 0 }, 'ops.stallAfter: must be at least 1s'],
] as const)('a value that nothing could work with is a fault (%s: %j)', (part, values, fault) => {
  const { mqtt, uplink } = least
  const before = { mqtt, uplink, outbox: {}, ops: {} }[part]
  expect(faultsOf({ ...least, [part]: { ...before, ...values } })).toEqual([
    expect.stringContaining(fault) as string,
  ])
})

test('the two examples agree: one broker, the CA of both, as many partitions', () => {
  const edge = loadEdgeConfig(example, {})
  const cloud = loadCloudConfig(example.replace('edge.example', 'cloud.example'), {})
  const [uplink, broker] = [new URL(edge.uplink.url), new URL(cloud.broker.url)]
  expect([broker.protocol, broker.host]).toEqual([uplink.protocol, uplink.host])
  expect(broker.username).not.toBe(uplink.username)
  expect(cloud.broker.tls?.ca).toBe(edge.uplink.tls?.ca)
  expect(cloud.partitions).toBe(edge.uplink.partitions)
})

const uplink = (tls: object) => ({ ...least, uplink: { url: 'amqps://cloud.example', tls } })

test('an uplink may trust a CA and show no certificate, and half a pair is a fault', () => {
  expect(faultsOf(uplink({ ca: 'ca.crt' }))).toEqual([])
  expect(faultsOf(uplink({ ca: 'ca.crt', cert: 'a' }))).toEqual([
    'uplink.tls.key: is required where there is a cert',
  ])
  expect(faultsOf(uplink({ ca: 'ca.crt', key: 'a' }))).toEqual([
    'uplink.tls.cert: is required where there is a key',
  ])
})

/** Each of them binds every interface. */
const everyInterface = [
  '0.0.0.0',
  '::',
  '0::',
  '0::0',
  '0000::',
  '::00',
  '::0.0.0.0',
  '::%lo',
  '::ffff:0:0',
  '::FFFF:0.0.0.0',
  '0:0:0:0:0:ffff:0:0',
  '0:0:0:0:0:0:0:0',
  '0:0:0:0:0:0:0.0.0.0',
]

test.each([...everyInterface, 'gateway.lan', '0', '0x0', undefined])(
  'a listener without TLS names one address, and %s is none',
  (host) => {
    const listeners = [{ port: 1883, auth: 'password', tls: false, host }]
    const mqtt = { ...least.mqtt, users: 'devices.yaml', listeners }
    const faults = faultsOf({ ...least, mqtt })
    expect(faults).toHaveLength(1)
    expect(faults[0]).toMatch(
      /^mqtt\.listeners\[0\]\.host: must name one address of this machine with tls: false/,
    )
    for (const named of ['192.168.7.1', '127.0.0.1', '::1', 'fd00::1', 'localhost'])
      expect(
        faultsOf({ ...least, mqtt: { ...mqtt, listeners: [{ ...listeners[0], host: named }] } }),
      ).toEqual([])
  },
)

const withListeners = (...listeners: object[]): string[] =>
  faultsOf({ ...least, mqtt: { ...least.mqtt, listeners } }).map(withoutLine)

test('listeners are held together: ports, what each way needs, and the file of users', () => {
  expect(
    withListeners({ port: 8885, auth: 'certificate', websocket: true, origins: ['https://a.example'] }),
  ).toEqual([])
  expect(withListeners({ port: 8884, auth: 'password' })).toEqual([
    'mqtt.users: is needed for auth: password: the file that `tidegate devices add` writes',
  ])
  expect(withListeners({ port: 8883, auth: 'certificate' })).toEqual([
    'mqtt.listeners[0].port: must not be 8883, which is mqtt.port already; mqtt.listeners are those besides it',
  ])
  const same = { port: 9000, auth: 'certificate' }
  expect(withListeners({ ...same, host: '127.0.0.1' }, { ...same, host: '127.0.0.2' })).toEqual([])
  expect(withListeners({ ...same, host: '127.0.0.1' }, same)).toEqual([
    'mqtt.listeners[1].port: must not be 9000, which is that of mqtt.listeners[0] already; mqtt.listeners are those besides it',
  ])
  for (const host of everyInterface)
    expect(withListeners({ ...same, host: '127.0.0.1' }, { ...same, host })).toHaveLength(1)
  expect(withListeners({ ...same, host: 'fd00::1' }, { ...same, host: 'FD00:0::1' })).toHaveLength(1)
  expect(withListeners({ ...same, host: '127.0.0.1' }, { ...same, host: '::ffff:7f00:1' })).toHaveLength(1)
  expect(withListeners({ ...same, host: 'fe80::1%a' }, { ...same, host: 'fe80::1%b' })).toEqual([])
  expect(withListeners({ port: 1, auth: 'certificate', tls: false })[0]).toMatch(
    /tls: must be true with auth: certificate/,
  )
  expect(withListeners({ port: 1, auth: 'certificate', path: '/x' })).toEqual([
    'mqtt.listeners[0].path: is for websocket: true',
  ])
  expect(
    withListeners({ port: 1, auth: 'certificate', websocket: true, origins: ['https://a.example/x'] })[0],
  ).toMatch(/must be the origin of a page/)
})

test('a configuration without listeners has the one of before, and others come behind it', () => {
  expect(brokerSettings(edgeConfigSchema.parse(least)).listeners).toMatchObject([
    { host: '0.0.0.0', port: 8883, auth: 'certificate', tls: true },
  ])
  const listeners = [{ port: 8885, auth: 'certificate', websocket: true }]
  const both = edgeConfigSchema.parse({ ...least, mqtt: { ...least.mqtt, port: 1, listeners } })
  expect(brokerSettings(both).listeners).toMatchObject([
    { port: 1, auth: 'certificate', tls: true },
    {
      port: 8885,
      host: '0.0.0.0',
      auth: 'certificate',
      tls: true,
      webSocket: { path: '/mqtt', origins: [] },
    },
  ])
})

const faultsOfSchemas = (schemas: object): string[] => faultsOf({ ...least, schemas }).map(withoutLine)

test('schemas come of a folder or of a snapshot, and a snapshot of a file or of an address that hides the token', () => {
  const url = 'https://cloud.example/v1/schemas/snapshot'
  expect(
    faultsOfSchemas({ snapshot: { url, keys: ['a.pub', 'b.pub'], tokenFile: 't', tls: { ca: 'ca.crt' } } }),
  ).toEqual([])
  expect(faultsOfSchemas({ snapshot: { file: 'schemas.snapshot', keys: 'a.pub' } })).toEqual([])
  expect(faultsOfSchemas({ snapshot: { url: 'http://127.0.0.1:8443/', keys: 'a.pub' } })).toEqual([])
  const faults = [
    { folder: 'schemas', snapshot: { file: 'f', keys: 'a.pub' } },
    { snapshot: { keys: 'a.pub' } },
    { snapshot: { file: 'f', url, keys: 'a.pub' } },
    { snapshot: { file: 'f' } },
    { snapshot: { file: 'f', keys: 'a.pub', tokenFile: 't' } },
    { snapshot: { url: 'http://cloud.example/', keys: 'a.pub' } },
    { snapshot: { url: 'ftp://cloud.example/', keys: 'a.pub' } },
    { snapshot: { url: 'https://me:secret@cloud.example/', keys: 'a.pub' } },
  ].map((schemas) => faultsOfSchemas(schemas).join('; '))
  expect(faults.filter((fault) => !fault.includes('schemas.snapshot'))).toEqual([])
  expect(faults.join('\n')).not.toContain('secret')
})
