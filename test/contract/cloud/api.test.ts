import { once } from 'node:events'
import { chmodSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, request as ask } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { listenOnSocket } from '../../../cloud/api/socket.ts'
import { allRoutes } from '../../../cloud/api/routes/all.ts'
import { openapiOf } from '../../../cloud/api/routes/openapi.ts'
import { roleNames } from '../../../cloud/api/rules/roles.ts'
import { canary, canaryIn, seeded, seedFailures } from '../../support/cloud/seeded-failures.ts'
import { type ServedApi, serveApi } from '../../support/cloud/served-api.ts'
import { fetchKeySet } from '../../../cloud/api/tokens/key-set-fetch.ts'

let served: ServedApi
beforeAll(async () => {
  served = await serveApi()
  await seedFailures(served.databaseUrl, 25)
})
afterAll(() => served.close())

const json = async <T>(path: string, token: string): Promise<T> => {
  const answer = await served.get(path, token)
  expect([path, answer.status]).toEqual([path, 200])
  return (await answer.json()) as T
}

/** Asks by the socket. */
async function locally(
  path: string,
  method = 'GET',
  body?: object,
): Promise<{ status: number; body: unknown; etag: unknown }> {
  const headers = {
    'tidegate-user': 'ann',
    ...(method !== 'GET' && { 'idempotency-key': crypto.randomUUID(), 'content-type': 'application/json' }),
  }
  return locallyWith(headers, path, method, body)
}
async function locallyWith(headers: Record<string, string>, path: string, method = 'GET', body?: object) {
  const asked = ask({ socketPath: served.socket, host: 'localhost', path, method, headers })
  asked.end(body && JSON.stringify(body))
  const [response] = (await once(asked, 'response')) as [import('node:http').IncomingMessage]
  const text = (await response.toArray()).join('')
  return { status: response.statusCode ?? 0, body: JSON.parse(text) as unknown, etag: response.headers.etag }
}

describe('what is read', () => {
  test('page by page is every letter once, newest first, whatever comes meanwhile', async () => {
    const token = await served.tokenOf('viewer')
    const seen: number[] = []
    let after = ''
    do {
      const query = after === '' ? '' : `&after=${after}`
      const page = await json<{ items: { letter: number }[]; next: string | null }>(
        `/v1/dead-letters?group=alerts&limit=7${query}`,
        token,
      )
      expect(page.items.length).toBeLessThanOrEqual(7)
      seen.push(...page.items.map(({ letter }) => letter))
      after = page.next ?? ''
    } while (after !== '')
    expect(seen).toEqual(seen.toSorted((a, b) => b - a))
    expect(new Set(seen).size).toBe(25)
    for (const filter of [
      'code=OTHER',
      'device=sensor-2',
      'type=com.acme.power',
      'state=resolved',
      'until=2020-01-01T00:00:00Z',
    ])
      expect(await json(`/v1/dead-letters?${filter}`, token)).toEqual({ items: [], next: null })
  })

  test('by code and type finds letters in groups of their own and in those of the rest', async () => {
    const token = await served.tokenOf('viewer')
    const of = async (query: string): Promise<number[]> => {
      const path = `/v1/dead-letters?state=all&limit=500&${query}`
      return (await json<{ items: { letter: number }[] }>(path, token)).items.map(({ letter }) => letter)
    }
    const all = await of('group=alerts')
    expect(await of('code=SITE_UNKNOWN')).toEqual(all)
    expect(await of('code=SITE_UNKNOWN&type=com.acme.climate&group=alerts')).toEqual(all)
    expect(await of('type=com.acme.climate&group=other')).toEqual([])
    const rest = 'ffffffffffffffff'
    await served.database.query(
      `insert into tidegate.failure_groups (fingerprint, consumer_group, code, message, first_seen, last_seen)
       values ($1, 'alerts', 'UNEXPECTED', 'further failures, with further codes', now(), now())`,
      [rest],
    )
    const move = 'update tidegate.dead_letters set fingerprint = $2 where letter = any($1::bigint[])'
    await served.database.query(move, [[3, 4], rest])
    expect(await of('code=SITE_UNKNOWN')).toEqual(all)
    expect(await of('type=com.acme.climate')).toEqual(all)
    await served.database.query(move, [[3, 4], seeded.fingerprint])
    await served.database.query('delete from tidegate.failure_groups where fingerprint = $1', [rest])
  })

  test('of a failure group are its counts, folded or not, and its letters', async () => {
    const token = await served.tokenOf('analyst')
    const { items } = await json<{ items: object[] }>('/v1/failure-groups', token)
    expect(items).toMatchObject([{ fingerprint: seeded.fingerprint, letters: 25, open: 25, status: 'open' }])
    const letter = await json<Record<string, unknown>>('/v1/dead-letters/1', token)
    expect(letter).toMatchObject({
      letter: 1,
      body: JSON.stringify({ data: canary }),
      bodyBase64: null,
      properties: { messageId: canary },
    })
    expect(letter).not.toHaveProperty('row_version')
    expect(await json('/v1/dead-letters/2', token)).toMatchObject({ body: null })
  })

  test('of groups, what is parked, what was quarantined, who did what, is what the tables have', async () => {
    const token = await served.tokenOf('admin')
    expect(await json('/v1/groups', token)).toMatchObject({
      items: [
        {
          group: 'alerts',
          state: { state: 'running' },
          openLetters: 25,
          parkedDevices: 1,
          instances: [{ instance: 'cloud-1' }],
        },
      ],
    })
    expect(await json('/v1/groups/alerts/parked', token)).toMatchObject({
      items: [{ device: 'sensor-1', events: 1, message: canary }],
    })
    expect(await json('/v1/quarantine?device=sensor-1', token)).toMatchObject({
      items: [{ sequence: 7, reason: 'SCHEMA_VIOLATION', type: null, detail: canary }],
    })
    expect(await json('/v1/quarantine?device=sensor-2', token)).toEqual({ items: [], next: null })
    expect(await json('/v1/deeds?actor=ann', token)).toMatchObject({
      items: [{ verb: 'edit', reason: 'unit' }],
    })
    expect(await json('/v1/replays/1', token)).toMatchObject({
      replay: 1,
      actor: 'ann',
      state: 'done',
      total: 5,
    })
  })

  test('is for a token of some groups and types those alone', async () => {
    const others = await served.tokenOf('analyst', { groups: ['billing'] })
    for (const path of ['/v1/dead-letters', '/v1/failure-groups', '/v1/quarantine', '/v1/groups'])
      expect(await json(path, others)).toEqual({ items: [], next: null })
    expect((await served.get('/v1/dead-letters/1', others)).status).toBe(404)
    const typed = await served.tokenOf('analyst', { groups: ['alerts'], types: ['com.acme.climate'] })
    expect((await json<{ items: unknown[] }>('/v1/dead-letters', typed)).items).toHaveLength(25)
  })
})

describe('payloads', () => {
  interface Operation {
    parameters?: { name: string; in: string; required: boolean; schema: { enum?: string[] } }[]
  }
  const paths = openapiOf(allRoutes)['paths'] as Record<string, Record<string, Operation>>
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )
  const known: Record<string, readonly string[]> = {
    letter: ['1', '2', '999'],
    fingerprint: [seeded.fingerprint],
    group: [seeded.group, 'history'],
    device: [seeded.device],
    gateway: [seeded.gateway],
    epoch: [seeded.epoch],
    sequence: [String(seeded.sequence)],
    replay: ['1'],
    jti: ['x'],
    code: ['SITE_UNKNOWN'],
    type: ['com.acme.climate'],
    actor: ['ann'],
    reason: ['SCHEMA_VIOLATION'],
    limit: ['1', '500'],
    after: ['!!', canary],
    since: ['2020-01-01T00:00:00Z', canary],
    until: ['2099-01-01T00:00:00Z'],
  }
  /** Some request of some operation: its path filled in, and any of its query. */
  const requests = fc.constantFrom(...operations).chain(({ path, method, operation }) => {
    const parameters = (operation.parameters ?? []).filter((one) => one.in !== 'header')
    const values = parameters.map(({ name, in: where, schema }) => {
      const some = fc.constantFrom(...(schema.enum ?? known[name] ?? ['1']))
      return where === 'path' ? some : fc.option(some, { nil: undefined })
    })
    return fc.tuple(...values).map((given) => {
      const filled = parameters.reduce(
        (text, { name }, index) => text.replace(`{${name}}`, given[index] ?? ''),
        path,
      )
      const query = parameters.flatMap(({ name, in: where }, index) => {
        const value = given[index]
        return where === 'query' && value !== undefined ? [[name, value] as [string, string]] : []
      })
      return {
        method,
        url: query.length === 0 ? filled : `${filled}?${new URLSearchParams(query).toString()}`,
      }
    })
  })
  // oxlint-disable-next-line unicorn/consistent-function-scoping -- read where it is used
  const textOf = async (method: string, url: string, token: string): Promise<string> => {
    const headers = {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'idempotency-key': crypto.randomUUID(),
      'if-match': '*',
    }
    const body =
      method === 'get'
        ? {}
        : { body: JSON.stringify({ reason: 'x', filter: { group: 'alerts' }, dryRun: true }) }
    const answer = await fetch(served.url + url, { method: method.toUpperCase(), headers, ...body })
    return JSON.stringify([...answer.headers]) + (await answer.text())
  }

  test.each(['viewer', 'operator', 'auditor'] as const)(
    'meet no %s on any route, whatever is asked for: not a byte of what a device sent',
    async (role) => {
      const token = await served.tokenOf(role)
      const asked = new Set<string>()
      await fc.assert(
        fc.asyncProperty(requests, async ({ method, url }) => {
          // What changes something for the operator has a test of its own.
          fc.pre(method === 'get' || role !== 'operator')
          asked.add(url.split('?', 1)[0] as string)
          expect(canaryIn(await textOf(method, url, token)), url).toBe(false)
        }),
        { numRuns: 300 },
      )
      expect(asked.size).toBeGreaterThan(10)
    },
  )

  test('are there for those with the right to them, so that the test above would see them', async () => {
    const token = await served.tokenOf(['analyst', 'auditor', 'admin'])
    // A stream ends only when it is told to; what it says is what a page of the same events does.
    const reading = operations.filter(({ method, path }) => method === 'get' && !path.endsWith('/stream'))
    const withCanary = await Promise.all(
      reading.map(async ({ path, method }) => {
        const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => known[name]?.[0] ?? '1')
        return canaryIn(await textOf(method, filled, token)) ? [path] : []
      }),
    )
    expect(withCanary.flat().toSorted()).toEqual([
      '/v1/dead-letters',
      '/v1/dead-letters/{letter}',
      '/v1/deeds',
      '/v1/events',
      '/v1/failure-groups',
      '/v1/failure-groups/{fingerprint}',
      '/v1/groups/{group}/parked',
      '/v1/quarantine',
    ])
  })
})

describe('what is changed', () => {
  test('of a failure group is on record with who and why, and not over somebody else’s change', async () => {
    const path = `/v1/failure-groups/${seeded.fingerprint}`
    const { etag } = await locally(path)
    const headers = () => ({
      'tidegate-user': 'ann',
      'idempotency-key': crypto.randomUUID(),
      'content-type': 'application/json',
      'if-match': String(etag),
    })
    const change = { reason: 'known', note: 'siren is away', owner: 'bob' }
    const changed = await locallyWith(headers(), path, 'PATCH', change)
    expect(changed).toMatchObject({
      status: 200,
      body: { note: 'siren is away', owner: 'bob', status: 'open' },
    })
    expect(changed.etag).not.toBe(etag)
    expect(await locallyWith(headers(), path, 'PATCH', { reason: 'mine', note: null })).toMatchObject({
      status: 412,
      body: { code: 'FAILURE_GROUP_CHANGED' },
    })
    const again = { ...headers(), 'if-match': String(changed.etag) }
    expect(
      await locallyWith(again, path, 'PATCH', { reason: 'gone', note: null, status: 'muted' }),
    ).toMatchObject({ body: { note: null, owner: 'bob', status: 'muted' } })
    const { body } = await locally('/v1/deeds?actor=local:ann')
    expect((body as { items: object[] }).items).toMatchObject([
      { verb: 'change-failure-group', reason: 'gone' },
      { reason: 'known' },
    ])
  })

  test('of a group is whether it works', async () => {
    expect(await locally('/v1/groups/alerts/resume', 'POST', { reason: 'x' })).toMatchObject({
      status: 409,
      body: { code: 'GROUP_NOT_PAUSED' },
    })
    expect(
      (await locally('/v1/groups/alerts/pause', 'POST', { reason: 'siren is mended', forMs: 60_000 })).status,
    ).toBe(200)
    expect((await locally('/v1/groups/alerts')).body).toMatchObject({
      state: { state: 'paused', actor: 'local:ann', reason: 'siren is mended' },
    })
    expect((await locally('/v1/groups/alerts/resume', 'POST', { reason: 'x' })).status).toBe(200)
    expect((await locally('/v1/groups/alerts')).body).toMatchObject({ state: { state: 'running' } })
    expect((await locally('/v1/groups/none/pause', 'POST', { reason: 'x' })).status).toBe(404)
  })

  test('as a trial is refused as it would be, and nothing of it stays', async () => {
    const deedsBefore = await served.database.query('select count(*) from tidegate.deeds')
    const trial = { reason: 'dry run', dryRun: true }
    expect((await locally('/v1/groups/alerts/pause', 'POST', trial)).status).toBe(200)
    expect((await locally('/v1/groups/alerts')).body).toMatchObject({ state: { state: 'running' } })
    expect(await locally('/v1/groups/alerts/resume', 'POST', trial)).toMatchObject({
      status: 409,
      body: { code: 'GROUP_NOT_PAUSED' },
    })
    expect((await locally('/v1/groups/none/pause', 'POST', trial)).status).toBe(404)
    expect(await served.database.query('select count(*) from tidegate.deeds')).toEqual(deedsBefore)
  })

  test('is told plainly where this cloud cannot', async () => {
    const replay = await locally('/v1/replays', 'POST', { reason: 'x', filter: { group: 'alerts' } })
    expect(replay).toMatchObject({ status: 501, body: { code: 'NOT_OFFERED' } })
  })

  test('of tokens holds at once: minted by the socket, good by the port, taken back, good no longer', async () => {
    const wish = { reason: 'on call', subject: 'bob', roles: ['viewer'], forMs: 600_000 }
    const { token, jti } = (await locally('/v1/tokens', 'POST', wish)).body as { token: string; jti: string }
    expect((await served.get('/v1/me', token)).status).toBe(200)
    expect(await locally('/v1/tokens')).toMatchObject({
      body: {
        items: expect.arrayContaining([
          expect.objectContaining({ jti, subject: 'bob', revokedAt: null }),
        ]) as unknown,
      },
    })
    expect((await locally(`/v1/tokens/${jti}/revoke`, 'POST', { reason: 'lost' })).status).toBe(200)
    expect((await served.get('/v1/me', token)).status).toBe(401)
    expect((await locally('/v1/tokens/of-a-provider/revoke', 'POST', { reason: 'lost' })).body).toMatchObject(
      { jti: 'of-a-provider', subject: 'unknown' },
    )
    expect((await locally('/v1/tokens', 'POST', { ...wish, forMs: 13 * 3_600_000 })).status).toBe(422)
    expect(roleNames).toContain('viewer')
  })

  test('of tokens is on record, with who and why, without the token; and it is shown once', async () => {
    const headers = {
      'tidegate-user': 'ann',
      'idempotency-key': crypto.randomUUID(),
      'content-type': 'application/json',
    }
    const wish = { reason: 'on call', subject: 'carol', roles: ['viewer'], forMs: 600_000 }
    const minted = (await locallyWith(headers, '/v1/tokens', 'POST', wish)).body as {
      token: string
      jti: string
    }
    expect((await served.get('/v1/me', minted.token)).status).toBe(200)
    const again = await locallyWith(headers, '/v1/tokens', 'POST', wish)
    expect(again).toMatchObject({ status: 409, body: { code: 'TOKEN_SHOWN_ONCE' } })
    const other = await locallyWith(headers, '/v1/tokens', 'POST', { ...wish, subject: 'eve' })
    expect(other).toMatchObject({ status: 409, body: { code: 'IDEMPOTENCY_KEY_REUSED' } })
    expect((await locally('/v1/tokens', 'POST', { ...wish, reason: undefined })).status).toBe(422)
    const { items } = (await locally('/v1/deeds?actor=local:ann&limit=1')).body as { items: object[] }
    expect(items).toMatchObject([
      {
        verb: 'mint-token',
        reason: 'on call',
        request: { subject: 'carol', roles: ['viewer'] },
        outcome: { jti: minted.jti },
      },
    ])
    expect(JSON.stringify(items)).not.toContain(minted.token.split('.')[2])
    const records = (await locally('/v1/tokens')).body as { items: { subject: string }[] }
    expect(records.items.filter(({ subject }) => subject === 'carol')).toHaveLength(1)
  })

  test('of tokens of everybody is not for an admin of some groups, and what has expired is gone', async () => {
    const narrow = await served.tokenOf('admin', { groups: ['alerts'] })
    expect((await served.get('/v1/tokens', narrow)).status).toBe(403)
    const revoking = await fetch(`${served.url}/v1/tokens/x/revoke`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${narrow}`,
        'content-type': 'application/json',
        'idempotency-key': crypto.randomUUID(),
      },
      body: JSON.stringify({ reason: 'x' }),
    })
    expect(revoking.status).toBe(403)
    await served.database.query(
      `insert into tidegate.tokens (jti, subject, roles, issued_at, expires_at)
       values ('old', 'x', '{}', now() - interval '3 days', now() - interval '2 days')`,
    )
    await locally('/v1/tokens')
    expect(await served.database.query(`select jti from tidegate.tokens where jti = 'old'`)).toEqual([])
  })
})

describe('the socket of the machine’s owner', () => {
  // oxlint-disable-next-line unicorn/consistent-function-scoping -- read where it is used
  const server = (): ReturnType<typeof createServer> => createServer((_, response) => response.end())
  // oxlint-disable-next-line unicorn/consistent-function-scoping -- read where it is used
  const refusedAs = (code: string): object => expect.objectContaining({ code })

  test('is for its owner alone, and goes with the cloud', async () => {
    expect(statSync(served.socket).mode & 0o777).toBe(0o600)
    expect((await locally('/v1/me')).body).toMatchObject({
      actor: 'local:ann',
      roles: ['admin'],
      until: null,
    })
  })

  test('is not made where others could put another in its place, nor over what is no socket', async () => {
    const open = join(served.folder, 'open')
    mkdirSync(open)
    chmodSync(open, 0o777)
    await expect(listenOnSocket(server(), join(open, 'a.sock'))).rejects.toEqual(
      refusedAs('API_SOCKET_REFUSED'),
    )
    mkdirSync(join(open, 'inner'), { mode: 0o700 })
    await expect(listenOnSocket(server(), join(open, 'inner', 'a.sock'))).rejects.toEqual(
      refusedAs('API_SOCKET_REFUSED'),
    )
    const link = join(served.folder, 'link')
    symlinkSync(open, link)
    await expect(listenOnSocket(server(), join(link, 'a.sock'))).rejects.toEqual(
      refusedAs('API_SOCKET_REFUSED'),
    )
    const file = join(served.folder, 'file.sock')
    writeFileSync(file, '')
    await expect(listenOnSocket(server(), file)).rejects.toEqual(refusedAs('API_SOCKET_REFUSED'))
    await expect(listenOnSocket(server(), join(served.folder, 'x'.repeat(100)))).rejects.toEqual(
      refusedAs('API_SOCKET_REFUSED'),
    )
  })

  test('of a cloud that is no more is taken over, and one that answers is not', async () => {
    await expect(listenOnSocket(server(), served.socket)).rejects.toEqual(refusedAs('API_SOCKET_TAKEN'))
    const stale = join(served.folder, 'stale.sock')
    const { runProgram } = await import('../../support/program.ts')
    await runProgram('stale-socket', stale)
    expect(statSync(stale).isSocket()).toBe(true)
    const next = server()
    await listenOnSocket(next, stale)
    expect(statSync(stale).mode & 0o777).toBe(0o600)
    await new Promise((done) => next.close(done))
  })
})

describe('connections', () => {
  test('are bounded, and one that says nothing keeps nobody out for good (G7)', async () => {
    const small = await serveApi({ connectionsMax: 2, socket: undefined })
    const { port } = new URL(small.url)
    const silent = [1, 2].map(() => connect(Number(port), '127.0.0.1'))
    await Promise.all(silent.map((socket) => once(socket, 'connect')))
    const third = connect(Number(port), '127.0.0.1')
    third.on('error', () => {})
    await once(third, 'close')
    for (const socket of silent) socket.destroy()
    await Promise.all(silent.map((socket) => once(socket, 'close')))
    const token = await small.tokenOf('viewer')
    let status = 0
    while (status !== 200) {
      status = await small.get('/v1/me', token).then(
        (answer) => answer.status,
        () => 0,
      )
      if (status === 0) await delay(10)
    }
    expect(status).toBe(200)
    await small.close()
  })

  test('with too long a header, or a body without an end, are ended', async () => {
    const token = await served.tokenOf('admin')
    const answer = await fetch(`${served.url}/v1/me`, {
      headers: { authorization: `Bearer ${token}`, 'x-long': 'x'.repeat(20_000) },
    }).then(
      (one) => one.status,
      () => 0,
    )
    expect([0, 431]).toContain(answer)
    const body = new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(65_536).fill(32)),
    })
    const headers = {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'idempotency-key': crypto.randomUUID(),
    }
    const endless = await fetch(`${served.url}/v1/replays`, {
      method: 'POST',
      headers,
      body,
      duplex: 'half',
    }).then(
      (one) => one.status,
      () => 413,
    )
    expect(endless).toBe(413)
    expect((await served.get('/v1/me', token)).status).toBe(200)
  })
})

test('a key set is read whole or not at all, and from nowhere else (G7)', async () => {
  const server = createServer((request, response) => {
    if (request.url === '/long') response.end('x'.repeat(300_000))
    else if (request.url === '/moved') response.writeHead(302, { location: '/short' }).end()
    else if (request.url === '/short') response.end('{"keys":[]}')
    else response.writeHead(500).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  expect(await fetchKeySet(`${url}/short`)).toBe('{"keys":[]}')
  for (const path of ['/long', '/moved', '/broken'])
    await expect(fetchKeySet(url + path)).rejects.toThrow(/./)
  server.close()
  server.closeAllConnections()
})
