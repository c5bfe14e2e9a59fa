import { once } from 'node:events'
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { backoffMs } from '../../../src/backoff.ts'
import { loadConfig } from '../../../src/config.ts'
import { explain, TidegateError } from '../../../src/errors.ts'
import { createScope } from '../../../src/lifecycle.ts'
import { startOpsServer } from '../../../src/ops-server.ts'
import { createProgress } from '../../../cloud/groups/progress.ts'
import { loadSchemas } from '../../../src/contract/schema-registry.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidegate-kernel-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function file(text: string): string {
  const path = join(folder, `${Math.random()}.yaml`)
  writeFileSync(path, text)
  return path
}

function schemas(files: Record<string, unknown>): string {
  const root = mkdtempSync(join(folder, 'schemas-'))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(root, name, '..'), { recursive: true })
    writeFileSync(join(root, name), typeof content === 'string' ? content : JSON.stringify(content))
  }
  return root
}

describe('backoff', () => {
  test('doubles up to its bound, and always waits between half and all of it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (attempt, chance) => {
          const delayMs = backoffMs(attempt, { delayMsMin: 100, delayMsMax: 30_000 }, () => chance)
          const ceilingMs = Math.min(30_000, 100 * 2 ** (attempt - 1))
          expect(delayMs).toBeGreaterThanOrEqual(Math.floor(ceilingMs / 2))
          expect(delayMs).toBeLessThanOrEqual(ceilingMs)
        },
      ),
    )
  })
})

describe('configuration', () => {
  const schema = z.strictObject({
    name: z.string(),
    mqtt: z
      .strictObject({ port: z.int().max(65535).default(8883), hosts: z.array(z.string()).default([]) })
      .prefault({}),
  })
  test('is defaults, then the file, then the environment', () => {
    const env = { TIDEGATE_EDGE__MQTT__PORT: '1884', TIDEGATE_EDGE__MQTT__HOSTS: '[a, b]', OTHER: 'x' }
    const config = loadConfig({
      schema,
      file: file('name: gw\nmqtt:\n  port: 1883\n'),
      prefix: 'TIDEGATE_EDGE',
      env,
    })
    expect(config).toEqual({ name: 'gw', mqtt: { port: 1884, hosts: ['a', 'b'] } })
  })

  test('reports every fault at once, by path', () => {
    expect(() =>
      loadConfig({ schema, file: file('mqtt:\n  port: 99999\n  prot: 1\n'), prefix: 'X', env: {} }),
    ).toThrow(/3 faults:[^]*name: [^]*mqtt\.port: [^]*mqtt: .*prot/)
  })

  test('says which line of a file is not YAML', () => {
    expect(() => loadConfig({ schema, file: file('name: "open\n'), prefix: 'X', env: {} })).toThrow(
      /not valid YAML/,
    )
    expect(() => loadConfig({ schema, file: join(folder, 'none.yaml'), prefix: 'X', env: {} })).toThrow(
      /cannot read/,
    )
    expect(() => loadConfig({ schema, file: file('- a list\n'), prefix: 'X', env: {} })).toThrow(
      /mapping of keys/,
    )
  })
})

describe('schemas', () => {
  const climate = { type: 'object', required: ['t'], properties: { t: { type: 'number', maximum: 100 } } }

  test('checks data against the version asked for and names each fault by path', () => {
    const registry = loadSchemas(
      schemas({
        'com.acme.climate/1.json': climate,
        'com.acme.climate/2.json': { ...climate, required: ['t', 'h'] },
      }),
    )
    expect(registry.latest('com.acme.climate')).toBe(2)
    expect(registry.faults('com.acme.climate', 1, { t: 20 })).toEqual([])
    expect(registry.faults('com.acme.climate', 2, { t: 200 })).toEqual([
      expect.stringContaining("'h'"),
      expect.stringContaining('data.t: '),
    ])
    expect(() => registry.faults('com.acme.climate', 3, {})).toThrow(
      expect.objectContaining({ code: 'SCHEMA_UNKNOWN' }),
    )
  })

  test('names every file that cannot be used', () => {
    const root = schemas({
      'com.acme.climate/1.json': '{',
      'com.acme.climate/v2.json': {},
      'nodots/1.json': {},
    })
    expect(() => loadSchemas(root)).toThrow(/climate\/1\.json: [^]*v2\.json: [^]*nodots: /)
  })
})

describe('progress', () => {
  test('is stuck only while there is work and nothing moves', async () => {
    const clock = new FakeClock()
    const progress = createProgress(clock, 1000)
    await clock.advance(5000)
    expect(progress.check(0).ok).toBe(true)
    await clock.advance(900)
    expect(progress.check(3).ok).toBe(true)
    await clock.advance(200)
    expect(progress.check(3)).toEqual({ ok: false, waiting: 3, stalledMs: 1100 })
    progress.moved()
    expect(progress.check(3).ok).toBe(true)
  })
})

describe('a scope', () => {
  test('closes what it owns once, newest first, and goes on when one fails', async () => {
    const closed: string[] = []
    const scope = createScope()
    scope.own({ close: () => void closed.push('first') })
    scope.own({ close: () => Promise.reject(new Error('stuck')) })
    scope.own({ close: () => void closed.push('last') })
    await expect(scope.close()).rejects.toThrow('stuck')
    await scope.close().catch(() => {})
    expect(closed).toEqual(['last', 'first'])
  })
})

describe('the ops endpoint', () => {
  test('is ready when every check holds, and says which does not', async () => {
    let ok = true
    const server = await startOpsServer({
      host: '127.0.0.1',
      port: 0,
      metrics: async () => 'a 1\n',
      ready: () => ({ uplink: { ok, detail: 'moving' } }),
    })
    const get = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${server.port}${path}`)
    expect((await get('/readyz')).status).toBe(200)
    ok = false
    const unready = await get('/readyz')
    expect(unready.status).toBe(503)
    expect(await unready.json()).toEqual({ ok: false, checks: { uplink: { ok: false, detail: 'moving' } } })
    expect((await get('/healthz')).status).toBe(200)
    expect(await (await get('/metrics')).text()).toBe('a 1\n')
    expect((await get('/nothing')).status).toBe(404)
    const again = startOpsServer({
      host: '127.0.0.1',
      port: server.port,
      metrics: async () => '',
      ready: () => ({}),
    })
    await expect(again).rejects.toMatchObject({ code: 'PORT_TAKEN' })
    await server.close()
  })

  test.for(['//', '//[', 'http://'])(
    'answers a request for %s, which is no address, with 400',
    async (path) => {
      const server = await startOpsServer({
        host: '127.0.0.1',
        port: 0,
        metrics: async () => '',
        ready: () => ({}),
      })
      const [response] = (await once(
        request({ port: server.port, host: '127.0.0.1', path }).end(),
        'response',
      )) as [IncomingMessage]
      expect(response.statusCode).toBe(400)
      expect((await fetch(`http://127.0.0.1:${server.port}/healthz`)).status).toBe(200)
      await server.close()
    },
  )
})

describe('an error', () => {
  test('is told on one screen: what, why, what to do, and never a stack', () => {
    const error = new TidegateError('CODE', {
      message: 'it broke',
      retryable: false,
      hint: 'mend it',
      cause: new Error('why'),
    })
    expect(explain(error)).toBe('tidegate: it broke\n  cause: why\n  hint:  mend it\n  code:  CODE')
  })

  test('does not tell a cause that is no error', () => {
    const error = new TidegateError('CODE', {
      message: 'it',
      retryable: false,
      hint: 'mend',
      cause: { a: 1 },
    })
    expect(explain(error)).toBe('tidegate: it\n  hint:  mend\n  code:  CODE')
  })
})
