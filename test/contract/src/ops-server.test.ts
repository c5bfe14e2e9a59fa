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
