import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { createAuthority } from '../../certs/authority.ts'
import { issueDevelopmentPki } from '../../certs/development.ts'
import { createProgram } from '../../dev/stack/processes.ts'
import { run } from '../../dev/servers/command.ts'
import { freePort } from '../../dev/servers/ports.ts'
import { createDatabase, createVhost } from '../support/servers.ts'

const cli = join(import.meta.dirname, '../../dist/cli/tidegate.js')
const dir = mkdtempSync(join(tmpdir(), 'tidegate-startup-'))
const pki = join(dir, 'pki')
afterAll(() => rmSync(dir, { recursive: true, force: true }))
beforeAll(async () => {
  await issueDevelopmentPki(pki, { devices: [], gateway: 'gateway-1' })
  await createAuthority(join(dir, 'other'))
  const cert = readFileSync(join(pki, 'edge.crt'), 'utf8')
  writeFileSync(join(dir, 'cut.crt'), cert.slice(0, 300))
  writeFileSync(
    join(dir, 'altered.crt'),
    cert.replace(/\n(.{10})./, (_, head: string) => `\n${head}!`),
  )
})

const tls = { ca: 'pki/ca.crt', cert: 'pki/edge.crt', key: 'pki/edge.key' }
/** Faultless, but for what a test makes of it. */
const edge = {
  gateway: 'gateway-1',
  dataDir: 'data',
  mqtt: { host: '127.0.0.1', port: 0, tls },
  uplink: { url: 'amqp://127.0.0.1:1' },
  ops: { port: 0 },
}
const cloud = { startup: { timeout: '500ms' }, ops: { port: 0 } }

interface Failure {
  config: object | string
  code: string
  /** What the message must name: what is wrong, where it is. */
  names: readonly (string | RegExp)[]
}

/** Generous: two cores may be busy with other tests. */
const soonMs = 10_000
const secret = 'not-for-the-screen'
let files = 0

/** One screen that says what, where and what to do; no stack trace, no password; a non-zero exit, soon. */
async function expectFailure(side: 'edge' | 'cloud', { config, code, names }: Failure): Promise<void> {
  const file = join(dir, `${side}-${files++}.yaml`)
  writeFileSync(file, typeof config === 'string' ? config : stringify(config))
  const startedMs = performance.now()
  const ended = await run(
    { file: process.execPath, args: [cli, side, '--config', file], env: { PATH: process.env['PATH'] } },
    { timeoutMs: 20_000 },
  )
  const screen = ended.stdout + ended.stderr
  expect(ended.code, screen).toBe(1)
  expect(performance.now() - startedMs).toBeLessThan(soonMs)
  expect(ended.stderr).toMatch(/^tidegate: \S/)
  expect(ended.stderr).toMatch(new RegExp(`^ {2}hint: {2}\\S.*\\n {2}code: {2}${code}\\n$`, 'm'))
  for (const name of names) expect(ended.stderr).toMatch(name)
  expect(screen).not.toMatch(/^ {4}at /m)
  expect(screen).not.toContain(secret)
  expect(screen.trimEnd().split('\n').length).toBeLessThanOrEqual(25)
}

async function withTakenPort(test: (port: number) => Promise<unknown>): Promise<void> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    await test((server.address() as AddressInfo).port)
  } finally {
    server.close()
  }
}

describe('an edge that cannot start says why on one screen and exits', () => {
  test('every fault of its configuration, by path', () =>
    expectFailure('edge', {
      config: {
        gateway: 'not a name',
        mqtt: { port: 99_999, tls: { ca: 'pki/ca.crt' } },
        outbox: { bytesMax: 'much', full: 'explode' },
        routes: [{ topic: 'tele/{what}' }],
        uplink: { url: 'http://cloud.example' },
        colour: 'blue',
      },
      code: 'CONFIG_INVALID',
      names: [
        /edge-\d+\.yaml has 10 faults/,
        'gateway: ',
        'mqtt.port: ',
        'mqtt.tls.cert: is required',
        'mqtt.tls.key: is required',
        'outbox.bytesMax: ',
        'outbox.full: ',
        'routes[0].topic: {what}',
        'routes[0].type: ',
        'uplink.url: ',
        'colour: is no key here',
      ],
    }))

  test('a configuration that is no YAML, with the line', () =>
    expectFailure('edge', {
      config: 'gateway: gateway-1\nmqtt: [unclosed\n',
      code: 'CONFIG_UNREADABLE',
      names: [/edge-\d+\.yaml is not valid YAML/, /line \d/],
    }))

  test('a taken MQTT port', () =>
    withTakenPort((port) =>
      expectFailure('edge', {
        config: { ...edge, mqtt: { ...edge.mqtt, port } },
        code: 'PORT_TAKEN',
        names: ['the MQTT listener', `127.0.0.1:${port}`],
      }),
    ))

  test('a taken ops port', () =>
    withTakenPort((port) =>
      expectFailure('edge', {
        config: { ...edge, ops: { port } },
        code: 'PORT_TAKEN',
        names: ['the ops endpoint', `127.0.0.1:${port}`],
      }),
    ))

  test.each([
    ['of a CA that did not sign its certificate', { ca: 'other/ca.crt' }, 'TLS_WRONG_CA', 'other/ca.crt'],
    ['a certificate that is cut off', { cert: 'cut.crt' }, 'TLS_FILE_CORRUPT', 'cut.crt'],
    ['a certificate that was altered', { cert: 'altered.crt' }, 'TLS_FILE_CORRUPT', 'altered.crt'],
    ['a key that is not there', { key: 'no.key' }, 'TLS_FILE_MISSING', 'no.key'],
    ['the key of another certificate', { key: 'pki/cloud.key' }, 'TLS_KEY_MISMATCH', 'pki/cloud.key'],
  ])('%s', (_, wrong, code, file) =>
    expectFailure('edge', {
      config: { ...edge, mqtt: { ...edge.mqtt, tls: { ...tls, ...wrong } } },
      code,
      names: ['mqtt.tls', join(dir, file)],
    }),
  )

  // Below a file nobody may make a folder, not even root.
  test('a data folder that cannot be written', () =>
    expectFailure('edge', {
      config: { ...edge, dataDir: 'pki/ca.crt/data' },
      code: 'DATA_FOLDER_UNWRITABLE',
      names: [join(dir, 'pki/ca.crt/data')],
    }))

  test('another edge on its data folder, which is left alone', async () => {
    const opsPort = await freePort()
    const config = join(dir, 'first.yaml')
    writeFileSync(config, stringify({ ...edge, dataDir: 'shared', ops: { port: opsPort } }))
    const first = createProgram({
      name: 'edge',
      args: [cli, 'edge', '--config', config],
      logFile: join(dir, 'first.log'),
      readyUrl: `http://127.0.0.1:${opsPort}/readyz`,
    })
    await first.start()
    try {
      await expectFailure('edge', {
        config: { ...edge, dataDir: 'shared' },
        code: 'OUTBOX_LOCKED',
        names: [join(dir, 'shared')],
      })
      expect((await fetch(`http://127.0.0.1:${opsPort}/readyz`)).status).toBe(200)
    } finally {
      await first.stop()
    }
  })
})

describe('a cloud that cannot start says why on one screen and exits', () => {
  let database: { url: string }
  let broker: { url: string }
  beforeAll(async () => {
    database = { url: await createDatabase() }
    broker = { url: await createVhost() }
  })

  test('every fault of its configuration, by path', () =>
    expectFailure('cloud', {
      config: {
        broker: { url: 'http://x', tls: { ca: 'ca.crt', cert: 'a.crt' } },
        partitions: 0,
        consumers: ['histroy'],
        handlerTimeout: 'soon',
      },
      code: 'CONFIG_INVALID',
      names: [
        'broker.url: ',
        'broker.tls.key: ',
        'partitions: ',
        'consumers[0]: must be history or module: …; did you mean history?',
        'handlerTimeout: ',
      ],
    }))

  test('a database that is not there', async () => {
    const port = await freePort()
    const url = `postgres://tidegate:${secret}@127.0.0.1:${port}/tidegate`
    await expectFailure('cloud', {
      config: { ...cloud, database: { url } },
      code: 'DATABASE_UNREACHABLE',
      names: [`127.0.0.1:${port}/tidegate`, 'database.url'],
    })
  })

  test('a database that refuses its password, at once', async () => {
    const url = new URL(database.url)
    url.password = secret
    await expectFailure('cloud', {
      config: { ...cloud, startup: { timeout: '60s' }, database: { url: url.href } },
      code: 'DATABASE_REFUSED',
      names: [url.host, 'password'],
    })
  })

  test('a broker that is not there', async () => {
    const port = await freePort()
    await expectFailure('cloud', {
      config: {
        ...cloud,
        database,
        broker: { url: `amqp://cloud:${secret}@127.0.0.1:${port}` },
      },
      code: 'BROKER_UNREACHABLE',
      names: [`127.0.0.1:${port}`, 'broker.url'],
    })
  })

  test('a broker that refuses its password, at once', async () => {
    const url = new URL(broker.url)
    url.password = secret
    await expectFailure('cloud', {
      config: {
        ...cloud,
        startup: { timeout: '60s' },
        database,
        broker: { url: url.href },
      },
      code: 'BROKER_REFUSED',
      names: [url.host, 'password'],
    })
  })

  test('a consumer that cannot be loaded', () =>
    expectFailure('cloud', {
      config: { ...cloud, consumers: [{ module: 'no-consumer.mjs' }] },
      code: 'CONSUMER_MODULE',
      names: [join(dir, 'no-consumer.mjs'), 'consumers'],
    }))

  test('a consumer with a syntax error', async () => {
    const module = join(dir, 'broken.mjs')
    writeFileSync(module, `export default {\n  group: 'x',\n  types: ['#']\n  handle() {}\n}\n`)
    await expectFailure('cloud', {
      config: { ...cloud, consumers: [{ module }] },
      code: 'CONSUMER_MODULE',
      names: [module, 'line 4'],
    })
  })

  test('a consumer with a misspelt key and a handler that is none', async () => {
    const module = join(dir, 'misspelt.mjs')
    writeFileSync(module, `export default { group: 'x', types: ['climate'], timout: 3, handel() {} }`)
    await expectFailure('cloud', {
      config: { ...cloud, consumers: [{ module }] },
      code: 'CONSUMER_INVALID',
      names: [module, 'did you mean timeout?', 'did you mean handle?', 'com.acme.climate'],
    })
  })

  test('a taken ops port', () =>
    withTakenPort(async (port) =>
      expectFailure('cloud', {
        config: {
          ...cloud,
          consumers: ['history'],
          partitions: 1,
          database,
          broker,
          ops: { port },
        },
        code: 'PORT_TAKEN',
        names: ['the ops endpoint', `127.0.0.1:${port}`],
      }),
    ))
})
