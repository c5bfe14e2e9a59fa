import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { describe, expect, test } from 'vitest'
import { startOpsServer } from '../../../src/ops-server.ts'

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

  test('answers by an address, by loopback and by the names that it is told, and by no other: a page in a browser can take any', async () => {
    const server = await startOpsServer({
      host: '0.0.0.0',
      hosts: ['cloud-1'],
      port: 0,
      metrics: async () => '',
      ready: () => ({}),
    })
    const statusAs = async (host: string): Promise<number | undefined> => {
      const asked = request({ port: server.port, host: '127.0.0.1', path: '/healthz', headers: { host } })
      const [response] = (await once(asked.end(), 'response')) as [IncomingMessage]
      response.resume()
      return response.statusCode
    }
    for (const host of [
      'localhost',
      'LocalHost:9101',
      '127.0.0.1:1',
      '[::1]:9101',
      '10.1.2.3',
      '[fd00::1]',
      'cloud-1',
      'CLOUD-1:80',
    ])
      expect([host, await statusAs(host)]).toEqual([host, 200])
    for (const host of [
      'evil.example',
      'evil.example:9101',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      'cloud-12',
    ])
      expect([host, await statusAs(host)]).toEqual([host, 421])
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
