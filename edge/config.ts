import { resolve } from 'node:path'
import { z } from 'zod'
import { faultOfAmqpUrl } from '../src/amqp/address.ts'
import { authentication, clientTls, clientTlsPaths, refuseNameless } from '../src/settings/client-tls.ts'
import { configFolder, type Environment, loadConfig } from '../src/settings/config.ts'
import { cloudLedger, deviceIdPattern, eventTypePattern } from '../src/contract/event.ts'
import { byteSize, duration } from '../src/units.ts'
import { batchLimits } from '../src/contract/batch.ts'
import { wire } from '../src/contract/wire.ts'
import { formats } from './admission/codecs/decode.ts'
import { avroEncodings, emptyMessages, unknownFields } from './admission/codecs/settings.ts'
import { profileFaults } from './admission/profiles.ts'
import { routeFaults } from './admission/routes/route-faults.ts'
import { routeActions } from './admission/routes/routes.ts'
import { filterFault } from './admission/routes/topics.ts'
import { listener, listenersFaults } from './listeners.ts'
import { schemaPaths, schemaSettings } from './schemas/settings.ts'

const count = (fallback: number, max = 1_000_000_000): z.ZodDefault<z.ZodInt> =>
  z.int().min(1).max(max).default(fallback)
const port = (fallback: number): z.ZodDefault<z.ZodInt> => z.int().min(0).max(65_535).default(fallback)
const file = z.string().min(1)
const lane = z.enum(['high', 'normal'])
const tls = z.strictObject({
  ca: file,
  cert: file,
  key: file,
  crl: file.optional(),
  crlStale: z.enum(['accept', 'refuse']).default('accept'),
  denied: file.optional(),
})

const route = z
  .strictObject({
    topic: z.string(),
    action: z.enum(routeActions).optional(),
    type: z.string().optional(),
    format: z.enum(formats).optional(),
    schema: z.union([file, z.array(file).min(1).max(64)]).optional(),
    message: z.string().min(1).optional(),
    encoding: z.enum(avroEncodings).optional(),
    unknown: z.enum(unknownFields).optional(),
    empty: z.enum(emptyMessages).optional(),
    idFrom: z.string().optional(),
    timeFrom: z.string().optional(),
    timeOffset: z.string().optional(),
    schemaVersion: z.int().min(1).max(999_999).optional(),
    lane: lane.optional(),
    ttl: duration().optional(),
    devices: z.array(z.string()).min(1).optional(),
  })
  .superRefine((route, context) => {
    for (const { key, message } of routeFaults(route))
      context.addIssue({ code: 'custom', path: [key], message })
  })

/** Of one device, in a second. */
const limits = z.strictObject({
  packetsPerSecond: z.number().min(1).optional(),
  bytesPerSecond: byteSize({ min: '1KiB' }).optional(),
  connectsPerSecond: z.number().positive().optional(),
})

const profile = z.strictObject({
  devices: z.array(z.string()).min(1, 'must name at least one device').optional(),
  types: z.array(z.string()).min(1, 'must name at least one type, or be left out').optional(),
  lanes: z
    .array(lane)
    .refine(
      (lanes) => lanes.includes('normal'),
      'must name normal, where whatever is lowered goes: [normal], or leave it out for both',
    )
    .optional(),
  limits: limits.optional(),
})

const profiles = z
  .record(z.string().min(1), profile)
  .superRefine((profiles, context) => {
    for (const { path, message } of profileFaults(profiles))
      context.addIssue({ code: 'custom', path, message })
  })
  .default({})

const subscribeFilter = z.string().superRefine((filter, context) => {
  const fault = filterFault(filter)
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault })
})

/** A usual keep alive is a minute. */
const readSecondsMax = 30

const mqtt = z.strictObject({
  host: z.string().default('0.0.0.0'),
  port: port(8883),
  tls,
  listeners: z.array(listener).max(16).default([]),
  users: file.optional(),
  connectionsMax: count(10_000, 1_000_000),
  connectionsPerDeviceMax: count(8),
  handshakeTimeout: duration('10s', { min: '100ms', max: '10m' }),
  handshakes: z.strictObject({ max: count(2000, 100_000) }).prefault({}),
  packetBytesMax: byteSize('1MiB', { min: '1KiB', max: '256MiB' }),
  inFlightMax: count(512, 65_535),
  inFlightBytesMax: byteSize('64MiB', { min: '1KiB' }),
  inFlightBytesPerDeviceMax: byteSize('8MiB', { min: '1KiB' }),
  limits: limits.prefault({}),
  subscribe: z.array(subscribeFilter).default([]),
  sessions: z
    .strictObject({
      queuedMax: count(1000),
      subscriptionsPerDeviceMax: count(100),
      retainedMax: count(10_000),
      retainedPerDeviceMax: count(100),
      bytesPerDeviceMax: byteSize('16MiB', { min: '1KiB' }),
      unreleasedPerDeviceMax: count(10_000),
    })
    .prefault({}),
})

const events = z
  .strictObject({
    // No event is larger than a cloud reads, with all that surrounds and escapes it.
    payloadBytesMax: byteSize('256KiB', { min: '1B', max: '2MiB' }),
    quarantineBytesMax: byteSize('16KiB'),
    clockSkewMax: duration('24h'),
    timeAgeMax: duration('366d'),
    highPerDevice: z
      .strictObject({ eventsPerSecond: z.number().positive().default(100), burst: count(10_000) })
      .optional(),
    types: z
      .record(
        z.string().regex(eventTypePattern, 'must be a reverse-DNS event type such as com.acme.climate'),
        z.strictObject({ lane: lane.optional(), ttl: duration().optional() }),
      )
      .default({}),
  })
  .prefault({})

const outbox = z
  .strictObject({
    eventsMax: count(10_000_000),
    bytesMax: byteSize('4GiB', { min: '1MiB' }),
    deviceShare: z.number().gt(0).max(1).default(0.5),
    deviceMinimum: z.number().min(0).max(1).default(0.0001),
    reservedShare: z.number().min(0).lt(1).default(0.05),
    diskFreeMin: byteSize('64MiB'),
    reserve: byteSize('16MiB'),
    full: z.enum(['refuse', 'evict']).default('refuse'),
    dedup: z.strictObject({ age: duration('24h'), count: count(1_000_000, 100_000_000) }).prefault({}),
    batchEventsMax: count(500, 100_000),
    waitingMax: count(10_000),
  })
  .prefault({})

const uplinkUrl = z
  .string()
  .refine((text) => URL.canParse(text) && /^amqps?:$/.test(new URL(text).protocol), {
    message: 'must be an AMQP address such as amqps://gateway-1:secret@cloud.example:5671',
  })
  .superRefine((url, context) => {
    const message = faultOfAmqpUrl(url)
    if (message !== undefined) context.addIssue({ code: 'custom', message })
  })

const uplink = z
  .strictObject({
    url: uplinkUrl,
    auth: authentication,
    passwordFile: file.optional(),
    insecure: z.boolean().default(false),
    exchange: z.string().min(1).default(wire.exchange),
    tls: clientTls.optional(),
    partitions: z.int().min(1).max(100).default(16),
    lists: z.boolean().default(false),
    windowEvents: count(1000, 1_000_000),
    batch: z
      .strictObject({
        eventsMax: count(100, batchLimits.events),
        bytesMax: byteSize('64KiB', { min: '1KiB', max: '8MiB' }),
        compress: z.boolean().default(false),
      })
      .prefault({}),
    confirmTimeout: duration('30s', { min: '1s', max: '24h' }),
    connectTimeout: duration('10s', { min: '100ms', max: '10m' }),
    // AMQP counts it in 16 bits of seconds.
    heartbeat: duration('15s', { min: '1s', max: '65535s' }),
    reconnect: z
      .strictObject({ min: duration('500ms', { min: '1ms' }), max: duration('30s', { max: '24h' }) })
      .refine(({ min, max }) => min <= max, { path: ['min'], message: 'must be at most max' })
      .prefault({}),
    backlog: z
      .strictObject({
        eventsPerSecond: z.number().positive().optional(),
        bytesPerSecond: byteSize({ min: '1B' }).optional(),
        inOrderBelow: z.int().min(0).default(1000),
      })
      .prefault({}),
    catchUp: z.enum(['live-first', 'in-order']).default('live-first'),
    offlineMax: duration().optional(),
  })
  .superRefine(refuseNameless)

const checkpoints = z
  .strictObject({
    key: file.optional(),
    every: duration('60s', { min: '1s', max: '24h' }),
    everyEvents: count(10_000),
  })
  .prefault({})

const ops = z
  .strictObject({
    host: z.string().default('127.0.0.1'),
    hosts: z.array(z.string().min(1)).default([]),
    port: port(9101),
    stallAfter: duration('60s', { min: '1s', max: '24h' }),
  })
  .prefault({})

const level = z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])

/** The whole of an edge's configuration: docs/CONFIGURATION.md says what each key means. */
export const edgeConfigSchema = z
  .strictObject({
    gateway: z
      .string()
      .regex(deviceIdPattern, 'must be a name of letters, digits, dot, dash and underscore')
      .refine((name) => name !== cloudLedger, `must not be ${cloudLedger}, which is the cloud's own`),
    dataDir: file.default('./data'),
    mqtt,
    events,
    schemas: schemaSettings,
    routes: z.array(route).default([]),
    profiles,
    outbox,
    uplink,
    checkpoints,
    ops,
    log: z.strictObject({ level: level.default('info') }).prefault({}),
  })
  .refine(({ mqtt, events }) => events.payloadBytesMax < mqtt.packetBytesMax, {
    path: ['events', 'payloadBytesMax'],
    message: 'must be below mqtt.packetBytesMax, or nothing over it could be quarantined',
  })
  .superRefine(({ mqtt }, context) => {
    for (const { path, message } of listenersFaults(mqtt))
      context.addIssue({ code: 'custom', path: ['mqtt', ...path], message })
  })
  .superRefine(({ mqtt, profiles }, context) => {
    const all = Object.entries(profiles).map(([name, { limits = {} }]) => ({
      path: ['profiles', name],
      limits,
    }))
    for (const { path, limits } of [{ path: ['mqtt'], limits: mqtt.limits }, ...all]) {
      if (mqtt.packetBytesMax <= (limits.bytesPerSecond ?? Infinity) * readSecondsMax) continue
      const message = `must let through a packet of mqtt.packetBytesMax in ${readSecondsMax} s, or its device would be silent for longer than it may be, and send it again for ever: raise it, or lower mqtt.packetBytesMax`
      context.addIssue({ code: 'custom', path: [...path, 'limits', 'bytesPerSecond'], message })
    }
  })

export type EdgeConfig = z.output<typeof edgeConfigSchema>

/**
 * The configuration of one edge, its paths absolute: relative ones start at the folder of the file.
 * @throws TidegateError `CONFIG_UNREADABLE` | `CONFIG_INVALID`
 */
export function loadEdgeConfig(configFile: string | undefined, env: Environment): EdgeConfig {
  const config = loadConfig({ schema: edgeConfigSchema, file: configFile, prefix: 'TIDEGATE_EDGE', env })
  const folder = configFolder(configFile)
  const absolute = (path: string): string => resolve(folder, path)
  const tlsPaths = (paths: z.output<typeof tls>): z.output<typeof tls> => ({
    ca: absolute(paths.ca),
    cert: absolute(paths.cert),
    key: absolute(paths.key),
    crl: paths.crl === undefined ? undefined : absolute(paths.crl),
    crlStale: paths.crlStale,
    denied: paths.denied === undefined ? undefined : absolute(paths.denied),
  })
  const { mqtt, uplink, schemas, checkpoints } = config
  return {
    ...config,
    dataDir: absolute(config.dataDir),
    mqtt: {
      ...mqtt,
      tls: tlsPaths(mqtt.tls),
      ...(mqtt.users !== undefined && { users: absolute(mqtt.users) }),
    },
    routes: config.routes.map((route) => ({
      ...route,
      schema: typeof route.schema === 'string' ? absolute(route.schema) : route.schema?.map(absolute),
    })),
    schemas: schemaPaths(schemas, absolute),
    checkpoints:
      checkpoints.key === undefined ? checkpoints : { ...checkpoints, key: absolute(checkpoints.key) },
    uplink: {
      ...uplink,
      ...(uplink.tls && { tls: clientTlsPaths(uplink.tls, absolute) }),
      ...(uplink.passwordFile !== undefined && { passwordFile: absolute(uplink.passwordFile) }),
    },
  }
}
