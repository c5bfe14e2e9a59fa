import { demoTypes } from '../fleet/sensors.ts'

export const gatewayDefault = 'gateway-1'
/** The consumer groups of a cloud that has no consumers of somebody else's. */
export const groups = ['history'] as const
/** Of the demonstration's own consumer, `dev/climate-alarms.ts`. */
export const demoGroup = 'climate-alarms'
/** The waits between attempts. */
export const ladderMs = [5000, 30_000, 300_000, 1_800_000] as const

export type Tree = { [key: string]: unknown }

export interface TlsPaths {
  ca: string
  cert: string
  key: string
}

export interface EdgeConfigInput {
  gateway: string
  dataDir: string
  mqttPort: number
  mqttTls: TlsPaths
  uplinkUrl: string
  uplinkTls: TlsPaths | undefined
  partitions: number
  opsPort: number
  schemasFolder: string
}

/** An edge for the demonstration fleet. config/edge.example.yaml says what each key means. */
export function edgeConfig(input: EdgeConfigInput): Tree {
  return {
    gateway: input.gateway,
    dataDir: input.dataDir,
    mqtt: { host: '127.0.0.1', port: input.mqttPort, tls: input.mqttTls },
    events: { types: { [demoTypes.alarm]: { lane: 'high' } } },
    schemas: { folder: input.schemasFolder },
    routes: [{ topic: 'tele/{device}/SENSOR', type: demoTypes.power, idFrom: 'Id', timeFrom: 'Time' }],
    uplink: {
      url: input.uplinkUrl,
      // Whoever gave us a broker knows what lies in between.
      ...(input.uplinkTls ? { tls: input.uplinkTls } : { insecure: true }),
      partitions: input.partitions,
      // A person who takes the uplink up again wants to see it drain, not wait for the backoff of a long outage.
      reconnect: { min: '200ms', max: '2s' },
    },
    ops: { host: '127.0.0.1', port: input.opsPort },
  }
}

export interface CloudConfigInput {
  instance: string
  brokerUrl: string
  brokerTls: TlsPaths | undefined
  /** Who publishes for it, as the broker knows them; nobody: it knows no names. */
  gateway: { name: string; user: string | undefined }
  databaseUrl: string
  partitions: number
  opsPort: number
  /** Where whoever runs it may ask for what failed; undefined: the folder's path is too long for a socket. */
  apiSocket: string | undefined
  schemasFolder: string
}

export function cloudConfig(input: CloudConfigInput): Tree {
  const { brokerTls: tls, gateway } = input
  return {
    instance: input.instance,
    broker: {
      url: input.brokerUrl,
      ...(tls ? { tls } : { insecure: true }),
    },
    database: { url: input.databaseUrl, insecure: true },
    partitions: input.partitions,
    ...publishing(gateway),
    retry: { ladder: [...ladderMs] },
    schemas: { folder: input.schemasFolder },
    ops: { host: '127.0.0.1', port: input.opsPort },
    ...(input.apiSocket !== undefined && { api: { socket: input.apiSocket } }),
  }
}

function publishing({ name, user }: CloudConfigInput['gateway']): Tree {
  if (user === name) return {}
  return { gateways: user === undefined ? { unvouched: 'accept' } : { users: { [name]: [user] } } }
}

/** `over` wins, mapping by mapping; lists and values are replaced whole. */
export function merge(base: Tree, over: Tree): Tree {
  const merged: Tree = { ...base }
  for (const [key, value] of Object.entries(over)) {
    const before = merged[key]
    merged[key] = isTree(before) && isTree(value) ? merge(before, value) : value
  }
  return merged
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
