import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { createAuthority } from '../../certs/authority.ts'
import { issueDevices } from '../../certs/development.ts'
import type { IssuedCertificate } from '../../certs/issue.ts'
import { parseMetrics } from '../../dev/watch/scrape.ts'
import { type Outcome, run } from '../../dev/servers/command.ts'
import { obtainClients } from '../support/packages.ts'
import { useStack } from '../support/stack.ts'

/** Everything here is done with programs that know nothing of Tidegate. */
const payloads = new URL('../../config/payloads/', import.meta.url).pathname
const stack = useStack({
  devices: ['device-1', 'device-2'],
  partitions: 2,
  edgeConfig: {
    routes: [
      {
        topic: 'avro/{device}',
        type: 'com.acme.climate',
        format: 'avro',
        schema: join(payloads, 'climate.avsc'),
      },
      {
        topic: 'protobuf/{device}',
        type: 'com.acme.climate',
        format: 'protobuf',
        schema: join(payloads, 'climate.proto'),
        message: 'com.acme.Climate',
      },
    ],
  },
})
beforeAll(() => obtainClients('mosquitto_pub', 'amqp-get', 'psql'), 120_000)

const type = 'com.acme.climate'
const until = (check: () => Promise<void>): Promise<void> =>
  vi.waitFor(check, { interval: 100, timeout: 15_000 })

const stock = (file: string, args: readonly string[]): Promise<Outcome> =>
  run({ file, args }, { timeoutMs: 15_000 })

interface Publish {
  /** Absent: no certificate is shown. */
  as: Pick<IssuedCertificate, 'certFile' | 'keyFile'> | undefined
  topic: string
  /** A text, or the bytes of a file. */
  payload: string | Buffer
  qos?: number
  more?: readonly string[]
}

function mosquittoPub({ as, topic, payload, qos = 1, more = [] }: Publish): Promise<Outcome> {
  const { host, port, caFile } = stack().mqtt
  const shown = as ? ['--cert', as.certFile, '--key', as.keyFile] : []
  const to = ['-h', host, '-p', String(port), '--cafile', caFile, ...shown]
  const what = typeof payload === 'string' ? ['-m', payload] : ['-f', fileOf(payload)]
  return stock('mosquitto_pub', [...to, '-q', String(qos), '-t', topic, ...what, ...more])
}

function fileOf(payload: Buffer): string {
  const file = join(stack().pki.authority.dir, `../${sha256(payload)}.bin`)
  writeFileSync(file, payload)
  return file
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

function device(index: 0 | 1): IssuedCertificate {
  return stack().pki.devices[index] as IssuedCertificate
}

/** Rows as psql prints them, one JSON object a line. */
async function psql<Row>(sql: string): Promise<Row[]> {
  const command = `select row_to_json(r) from (${sql}) r`
  const { code, stdout, stderr } = await stock('psql', ['-XAt', '-d', stack().databaseUrl, '-c', command])
  expect(code, stderr).toBe(0)
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Row)
}

async function counted(name: string, labels: Record<string, string>): Promise<number> {
  const scraped = await fetch(`${stack().edgeOps}/metrics`)
  return parseMetrics(await scraped.text()).value(name, labels) ?? 0
}

function edgeLog(): object[] {
  return readFileSync(stack().logs.edge, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as object)
}

async function foreignDevice(): Promise<IssuedCertificate> {
  const authority = await createAuthority(join(stack().pki.authority.dir, '../foreign'))
  const [issued] = await issueDevices(authority, ['device-1'])
  return issued as IssuedCertificate
}
async function expiredDevice(): Promise<IssuedCertificate> {
  const { authority } = stack().pki
  const [issued] = await issueDevices(authority, ['device-3'], {
    now: new Date(Date.now() - 20 * 86_400_000),
    days: 10,
  })
  return issued as IssuedCertificate
}

function sides(): [side: string, ops: string][] {
  return [
    ['edge', stack().edgeOps],
    ['cloud', stack().cloudOps[0] as string],
  ]
}

describe('mosquitto_pub with a device certificate', () => {
  test.each([0, 1, 2])('reaches psql at QoS %i, as a CloudEvent and as bare data', async (qos) => {
    const id = `reading-${qos}`
    const event = {
      specversion: '1.0',
      id,
      source: '/wherever',
      type,
      time: '2026-01-02T03:04:05+01:00',
      data: { temperature: qos },
    }
    const topic = `devices/device-1/events/${type}`
    const as = device(0)
    expect(await mosquittoPub({ as, topic, qos, payload: JSON.stringify(event) })).toMatchObject({ code: 0 })
    expect(await mosquittoPub({ as, topic, qos, payload: `{"temperature":${qos}}` })).toMatchObject({
      code: 0,
    })
    await until(async () =>
      expect(
        await psql(`
          select source, type, disposition, id = '${id}' as "own ID", time = timestamptz '2026-01-02 02:04:05Z' as "own time"
          from tidegate.events where (body->'data'->>'temperature')::int = ${qos} order by sequence`),
      ).toEqual([
        { source: '/devices/device-1', type, disposition: 'accepted', 'own ID': true, 'own time': true },
        { source: '/devices/device-1', type, disposition: 'accepted', 'own ID': false, 'own time': false },
      ]),
    )
  })

  test('sends the same event twice, and it is stored once', async () => {
    const payload = JSON.stringify({ specversion: '1.0', id: 'twice', data: { temperature: 30 } })
    const message = { as: device(0), topic: `devices/device-1/events/${type}`, payload }
    const known = await counted('tidegate_edge_publishes_total', { result: 'duplicate' })
    for (const _ of [1, 2]) expect(await mosquittoPub(message)).toMatchObject({ code: 0 })
    expect(await counted('tidegate_edge_publishes_total', { result: 'duplicate' })).toBe(known + 1)
    await until(async () =>
      expect(await psql(`select 1 from tidegate.events where id = 'twice'`)).toHaveLength(1),
    )
  })

  // 77.5, and 40, as doubles; before them the fingerprint of the schema, and the tag of field 1.
  test.each([
    ['avro', 'c3015217097e09dfe2fe00000000006053400000000000004440', { temperature: 77.5, humidity: 40 }],
    ['protobuf', '090000000000605340', { temperature: 77.5 }],
  ])(
    'sends %s from a file, and psql finds the reading with the SHA-256 of the file',
    async (format, hex, data) => {
      const payload = Buffer.from(hex, 'hex')
      expect(await mosquittoPub({ as: device(0), topic: `${format}/device-1`, payload })).toMatchObject({
        code: 0,
      })
      await until(async () =>
        expect(
          await psql(`select source, type, disposition, body->>'payloadsha256' as sha256, body->'data' as data
          from tidegate.events where body->>'payloadformat' = '${format}'`),
        ).toEqual([
          { source: '/devices/device-1', type, disposition: 'accepted', sha256: sha256(payload), data },
        ]),
      )
    },
  )

  test('sends what is no JSON, is acknowledged, and psql finds it in the history with its reason (G5)', async () => {
    const payload = '{"temperature": wärm'
    const message = { as: device(1), topic: `devices/device-2/events/${type}`, payload }
    expect(await mosquittoPub(message)).toMatchObject({ code: 0 })
    await until(async () =>
      expect(await psql(`select disposition, reason from tidegate.events where source = '/devices/device-2'`)) //
        .toEqual([
          { disposition: 'rejected', reason: expect.stringMatching(/^REJECTED_AT_EDGE: MALFORMED_JSON/) },
        ]),
    )
    // As docs/DATABASE.md shows it.
    const text = `select convert_from(decode(body->'data'->>'payload', 'base64'), 'UTF8') as payload
      from tidegate.events where source = '/devices/device-2' and disposition = 'rejected'`
    expect(await psql(text)).toEqual([{ payload }])
    const got = await stock('amqp-get', ['-u', stack().amqpUrl, '-q', 'history.dead.v2'])
    expect(got).toMatchObject({ code: 2, stdout: '' })
  })
})

interface Refusal {
  who: string
  as: () => Promise<Publish['as']>
  topic: string
  more?: readonly string[]
  counts: Parameters<typeof counted>
  logged: object
}

describe('a client that may not is refused; the reason is logged and counted', () => {
  const own = `devices/device-1/events/${type}`
  const refusedConnections = 'tidegate_edge_connections_refused_total'

  test.each<Refusal>([
    {
      who: 'without a certificate',
      as: async () => undefined,
      topic: own,
      counts: [refusedConnections, { reason: 'no-certificate' }],
      logged: { msg: 'connection refused', reason: 'no-certificate' },
    },
    {
      who: 'with a certificate of another CA, for the ID of a known device',
      as: foreignDevice,
      topic: own,
      counts: [refusedConnections, { reason: 'unknown-ca' }],
      logged: { msg: 'connection refused', reason: 'unknown-ca' },
    },
    {
      who: 'with a certificate that has expired',
      as: expiredDevice,
      topic: 'devices/device-3/events/com.acme.climate',
      counts: [refusedConnections, { reason: 'expired-certificate' }],
      logged: { msg: 'connection refused', reason: 'expired-certificate' },
    },
    {
      who: 'with the certificate of a gateway',
      as: async () => stack().pki.gateway,
      topic: 'devices/gateway-1/events/com.acme.climate',
      counts: [refusedConnections, { reason: 'bad-identity' }],
      logged: { msg: 'connection refused', reason: 'bad-identity' },
    },
    {
      who: 'that speaks MQTT 5',
      as: async () => device(0),
      topic: own,
      more: ['-V', 'mqttv5'],
      counts: [refusedConnections, { reason: 'protocol-version' }],
      logged: { msg: 'connection refused', reason: 'protocol-version' },
    },
    {
      who: 'under the topic of another device',
      as: async () => device(0),
      topic: `devices/device-2/events/${type}`,
      counts: ['tidegate_edge_publishes_total', { result: 'refused-topic' }],
      logged: { code: 'TOPIC_FORBIDDEN', device: 'device-1' },
    },
  ])('$who', async ({ as, topic, more = [], counts, logged }) => {
    const before = await counted(...counts)
    const payload = '{"temperature":666}'
    const refused = await mosquittoPub({ as: await as(), topic, payload, more })
    expect(refused.code, refused.stderr).not.toBe(0)
    expect(refused.code, 'mosquitto_pub gave up by itself').not.toBe(128)
    await until(async () => {
      expect(await counted(...counts)).toBeGreaterThan(before)
      expect(edgeLog()).toContainEqual(expect.objectContaining({ level: 'warn', ...logged }))
    })
    expect(
      await psql(`select 1 from tidegate.events where body->'data'->>'temperature' = '666'`),
    ).toHaveLength(0)
  })
})

describe('an operator with an HTTP client', () => {
  test('sees that each side lives, is ready, and by which checks', async () => {
    const checks: Record<string, string[]> = {}
    for (const [side, ops] of sides()) {
      expect(await (await fetch(`${ops}/healthz`)).json()).toEqual({ ok: true })
      const ready = await fetch(`${ops}/readyz`)
      expect(ready.status).toBe(200)
      const body = (await ready.json()) as { ok: boolean; checks: Record<string, { ok: boolean }> }
      expect(Object.values(body.checks).every(({ ok }) => ok)).toBe(true)
      checks[side] = Object.keys(body.checks)
    }
    expect(checks).toEqual({
      edge: ['mqtt', 'outbox', 'uplink'],
      cloud: [
        'database',
        'broker.consume',
        'broker.publish',
        'schemas',
        'group.history',
        'projection.rollups.1',
      ],
    })
  })

  test('reads metrics that are Prometheus text, of which no label holds a device ID', async () => {
    const sample = /^[a-z_:][a-z0-9_:]*(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? (-?[0-9.e+-]+|\+Inf|NaN)$/i
    for (const [side, ops] of sides()) {
      const response = await fetch(`${ops}/metrics`)
      expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
      const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
      expect(lines.filter((line) => !sample.test(line))).toEqual([])
      expect(lines.filter((line) => line.includes('device-1'))).toEqual([])
      expect(lines.some((line) => line.startsWith(`tidegate_${side}_`))).toBe(true)
    }
  })
})
