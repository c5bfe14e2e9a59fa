import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { route } from '../../../cloud/api/routes/route.ts'
import { allRoutes } from '../../../cloud/api/routes/all.ts'
import type { Reads } from '../../../cloud/api/reads/reads.ts'
import { hasRight, roleNames } from '../../../cloud/api/rules/roles.ts'
import type { Deeds } from '../../../cloud/deeds/deeds.ts'
import { TidegateError } from '../../../src/errors.ts'
import { createTestApi } from '../../support/cloud/test-api.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

const letter = { item: { letter: 7, group: 'alerts' }, version: 'v1' }
const reads = {
  letter: async (number: number, { groups }: { groups?: string[] }) =>
    number === 7 && (groups === undefined || groups.includes('alerts')) ? letter : undefined,
  letters: async () => ({ items: [], next: null }),
} as unknown as Reads

function recordingDeeds() {
  const calls: { verb: string; asked: unknown }[] = []
  const call =
    (verb: string, answer: unknown) =>
    async (asked: unknown): Promise<never> => {
      calls.push({ verb, asked })
      return answer as never
    }
  const deeds = {
    replay: call('replay', { replay: 3, total: 12 }),
    preview: call('preview', { letters: 12, byFingerprint: [] }),
    edit: call('edit', { letter: 7, state: 'open', version: 'v2' }),
    discard: call('discard', { discarded: 1, total: 1, done: true }),
  } as unknown as Deeds
  return { deeds, calls }
}

const problemIn = async (answer: Response): Promise<Record<string, unknown>> => {
  expect(answer.headers.get('content-type')).toBe('application/problem+json')
  return (await answer.json()) as Record<string, unknown>
}
const example = (path: string): string =>
  path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    name === 'fingerprint'
      ? 'abcdef0123456789'
      : ['letter', 'replay', 'sequence'].includes(name)
        ? '7'
        : 'a1',
  )

describe('who may', () => {
  const guarded = allRoutes.filter(({ right }) => right !== undefined)
  test.each(roleNames)('%s: what the table of roles says, of every route, and nothing else', async (role) => {
    const api = createTestApi()
    const token = await api.tokenOf(role)
    expect(guarded.length).toBeGreaterThan(15)
    for (const { method, path, right, localOnly } of guarded) {
      const answer = await api.ask(example(path), {
        token,
        method: method.toUpperCase(),
        body: method === 'get' ? undefined : {},
      })
      const may = hasRight({ actor: '', roles: [role], local: false }, right ?? 'see') && !localOnly
      expect([method, path, answer.status === 403]).toEqual([method, path, !may])
    }
  })

  test('nobody without a token, on any address, real or not', async () => {
    const api = createTestApi()
    for (const path of [...allRoutes.map((one) => example(one.path)), '/', '/v1/nothing', '/../etc/passwd']) {
      const answer = await api.ask(path)
      expect([path, answer.status]).toEqual([path, 401])
      expect(answer.headers.get('www-authenticate')).toContain('Bearer')
    }
  })

  test('a token makes no other: that is for who owns the machine', async () => {
    const api = createTestApi()
    const token = await api.tokenOf('admin')
    const body = { subject: 'bob', roles: ['admin'], forMs: 3_600_000 }
    const answer = await api.ask('/v1/tokens', { token, method: 'POST', body })
    expect(await problemIn(answer)).toMatchObject({ status: 403, code: 'RIGHT_MISSING' })
  })

  test('who is for some groups alone knows of no letter of others, and no filter of hers goes beyond', async () => {
    const { deeds, calls } = recordingDeeds()
    const api = createTestApi({ parts: { reads, deeds } })
    const narrow = await api.tokenOf(['operator', 'auditor'], { groups: ['billing'] })
    expect((await api.ask('/v1/dead-letters/7', { token: narrow })).status).toBe(404)
    const discard = { token: narrow, method: 'POST', body: { reason: 'old' } }
    expect((await api.ask('/v1/dead-letters/7/discard', discard)).status).toBe(404)
    for (const filter of [{ code: 'X' }, { group: 'alerts' }, { letter: 7 }]) {
      const answer = await api.ask('/v1/replays', {
        token: narrow,
        method: 'POST',
        body: { reason: 'mended', filter },
      })
      expect(await problemIn(answer)).toMatchObject({ status: 403, code: 'OUT_OF_SCOPE' })
    }
    for (const path of ['/v1/replays', '/v1/deeds'])
      expect(await problemIn(await api.ask(path, { token: narrow }))).toMatchObject({ code: 'OUT_OF_SCOPE' })
    expect(calls).toEqual([])
    const inside = { reason: 'mended', filter: { group: 'billing' } }
    expect((await api.ask('/v1/replays', { token: narrow, method: 'POST', body: inside })).status).toBe(202)
  })

  test('one who asks too often waits, and nobody else does (G7)', async () => {
    const clock = new FakeClock(Date.now())
    const api = createTestApi({ parts: { reads }, clock, requestsPerSecond: 1 })
    const [ann, bob] = [await api.tokenOf('viewer'), await api.tokenOf('analyst')]
    const statuses: number[] = []
    for (let count = 0; count < 6; count++) statuses.push((await api.ask('/v1/me', { token: ann })).status)
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429])
    expect((await api.ask('/v1/me', { token: bob })).status).toBe(200)
    const late = await api.ask('/v1/me', { token: ann })
    expect([late.status, late.headers.get('retry-after')]).toEqual([429, '1'])
    await clock.advance(1000)
    expect((await api.ask('/v1/me', { token: ann })).status).toBe(200)
    expect(api.refused).toEqual(['rate', 'rate'])
  })

  test('an address that brings bad tokens is not heard for a while, and others are', async () => {
    const api = createTestApi({ clock: new FakeClock(Date.now()) })
    const token = await api.tokenOf('viewer')
    for (let count = 0; count < 100; count++) await api.ask('/v1/me', { token: 'a.b.c', address: '10.0.0.1' })
    expect((await api.ask('/v1/me', { token: 'a.b.c', address: '10.0.0.1' })).status).toBe(429)
    expect((await api.ask('/v1/me', { token, address: '10.0.0.2' })).status).toBe(200)
  })

  test('a page in somebody’s browser does not get in by another name', async () => {
    const api = createTestApi()
    const token = await api.tokenOf('admin')
    const answer = await api.ask('/v1/me', { token, headers: { host: 'evil.example' } })
    expect(await problemIn(answer)).toMatchObject({ status: 421, code: 'HOST_UNKNOWN' })
    expect(answer.headers.get('access-control-allow-origin')).toBeNull()
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
  })
})

describe('a request', () => {
  test('that is not well made is told each of its faults, by path, and none of its values', async () => {
    const api = createTestApi({ parts: { reads } })
    const token = await api.tokenOf('operator')
    const body = { filter: { group: 'No Group', colour: 'secret-value' }, ratePerSecond: -1 }
    const problem = await problemIn(await api.ask('/v1/replays', { token, method: 'POST', body }))
    expect(problem).toMatchObject({
      status: 422,
      code: 'REQUEST_INVALID',
      type: 'tag:tidegate.dev,2026:errors/REQUEST_INVALID',
    })
    const paths = (problem['faults'] as { path: string }[]).map(({ path }) => path)
    expect(paths.toSorted()).toEqual(['filter.colour', 'filter.group', 'ratePerSecond'])
    expect(JSON.stringify(problem)).not.toContain('secret-value')
    for (const query of [
      '?limit=0',
      '?limit=501',
      '?limit=1&limit=2',
      '?colour=1',
      '?state=gone',
      '?after=xyz!',
    ])
      expect([query, (await api.ask(`/v1/dead-letters${query}`, { token })).status]).toEqual([
        query,
        query === '?after=xyz!' ? 200 : 400,
      ])
    expect((await api.ask('/v1/me?colour=1', { token })).status).toBe(400)
  })

  test('that writes needs a key of its own, JSON, and what is to be changed as it was seen', async () => {
    const { deeds, calls } = recordingDeeds()
    const api = createTestApi({ parts: { reads, deeds } })
    const token = await api.tokenOf('editor')
    const edit = {
      token,
      method: 'POST',
      body: { reason: 'unit', patch: [{ op: 'replace', path: '/kpa', value: 1 }] },
    }
    const path = '/v1/dead-letters/7/edit'
    const codeOf = async (headers: Record<string, string>): Promise<unknown> =>
      (await problemIn(await api.ask(path, { ...edit, headers })))['code']
    expect(await codeOf({ 'idempotency-key': 'again' })).toBe('IDEMPOTENCY_KEY_MISSING')
    expect(await codeOf({})).toBe('IF_MATCH_MISSING')
    expect(await codeOf({ 'if-match': '"v1"', 'content-type': 'text/plain' })).toBe('BODY_UNREADABLE')
    expect(calls).toEqual([])
    const key = randomUUID()
    const answer = await api.ask(path, {
      ...edit,
      headers: { 'idempotency-key': key.toUpperCase(), 'if-match': '"v1"' },
    })
    expect([answer.status, answer.headers.get('etag')]).toEqual([200, '"v2"'])
    expect(calls).toEqual([
      {
        verb: 'edit',
        asked: {
          key,
          by: { actor: 'token:a-editor', roles: ['editor'] },
          reason: 'unit',
          request: { letter: 7, patch: edit.body.patch, ifMatch: 'v1' },
        },
      },
    ])
  })

  test('has a body of 256 KiB at the most, whatever it says of itself (G7)', async () => {
    const api = createTestApi({ parts: { reads } })
    const token = await api.tokenOf('operator')
    const body = JSON.stringify({ reason: 'x'.repeat(300_000), filter: { code: 'X' } })
    const answer = await api.ask('/v1/replays', { token, method: 'POST', body })
    expect(await problemIn(answer)).toMatchObject({ status: 413, code: 'BODY_TOO_LARGE' })
    const broken = await api.ask('/v1/replays', { token, method: 'POST', body: '{"reason": "canary' })
    expect(JSON.stringify(await problemIn(broken))).not.toContain('canary')
  })

  test.each([
    ['as deep as may be', '['.repeat(97) + ']'.repeat(97), 200],
    ['with brackets in texts', JSON.stringify(`${'['.repeat(500)}\\"${'{'.repeat(500)}`), 200],
    ['a level too deep', '['.repeat(98) + ']'.repeat(98), 400],
    ['of arrays as far as it takes', '['.repeat(100_000) + ']'.repeat(100_000), 400],
    ['of objects as far as it takes', `${'{"a":'.repeat(40_000)}1${'}'.repeat(40_000)}`, 400],
    ['that ends in the middle', '['.repeat(50), 400],
    ['that is no JSON', 'undefined', 400],
    ['in no UTF-8', '"\ud800', 400],
  ])('with a body %s is answered, and never with a fault of ours (G7)', async (_, value, status) => {
    const { deeds } = recordingDeeds()
    const api = createTestApi({ parts: { reads, deeds } })
    const token = await api.tokenOf('editor')
    // The value lies three levels deep.
    const body = `{"reason":"unit","patch":[{"op":"add","path":"/a","value":${value}}]}`
    const answer = await api.ask('/v1/dead-letters/7/edit', {
      token,
      method: 'POST',
      body,
      headers: { 'if-match': '*' },
    })
    const { code } = (await answer.json()) as { code?: string }
    expect([answer.status, code]).toEqual([status, status === 400 ? 'BODY_UNREADABLE' : undefined])
  })

  test('for a replay is answered with where to ask for it; a dry run with what would be done, and needs no reason', async () => {
    const { deeds, calls } = recordingDeeds()
    const api = createTestApi({ parts: { reads, deeds } })
    const token = await api.tokenOf('operator')
    const filter = { group: 'alerts', since: '2026-11-27T08:00:00Z' }
    const ask = (body: object): Promise<Response> => api.ask('/v1/replays', { token, method: 'POST', body })
    const dry = await ask({ filter, dryRun: true })
    expect([dry.status, await dry.json()]).toEqual([200, { preview: { letters: 12, byFingerprint: [] } }])
    expect(await problemIn(await ask({ filter }))).toMatchObject({ code: 'REASON_MISSING' })
    const started = await ask({ filter, reason: 'mended', ratePerSecond: 50 })
    expect([started.status, started.headers.get('location')]).toEqual([202, '/v1/replays/3'])
    const conditions = { group: 'alerts', sinceMs: Date.parse(filter.since) }
    expect(calls.map(({ verb }) => verb)).toEqual(['preview', 'replay'])
    expect(calls[0]?.asked).toEqual(conditions)
    expect(calls[1]?.asked).toMatchObject({ request: { filter: conditions, ratePerSecond: 50 } })
  })

  test('in a way that there is not is told which there is', async () => {
    const api = createTestApi()
    const token = await api.tokenOf('admin')
    const wrong = await api.ask('/v1/dead-letters', { token, method: 'DELETE' })
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'GET'])
    expect(await problemIn(await api.ask('/v2/dead-letters', { token }))).toMatchObject({
      code: 'PATH_UNKNOWN',
    })
  })
})

describe('what goes wrong behind it', () => {
  // oxlint-disable-next-line unicorn/consistent-function-scoping -- read where it is used
  const failing = (error: unknown, log = pino({ level: 'silent' })) => {
    const broken = route({
      method: 'get',
      path: '/v1/broken',
      tag: 'Test',
      summary: 'breaks',
      right: 'see',
      answer: z.object({}),
      handle: () => {
        throw error
      },
    })
    return createTestApi({ routes: [broken], log })
  }

  test('is told by its code and status, and by nothing of it that could be somebody’s secret', async () => {
    const lines: string[] = []
    const api = failing(
      new Error('canary: password=hunter2'),
      pino({}, { write: (line: string) => void lines.push(line) }),
    )
    const token = await api.tokenOf('viewer')
    const problem = await problemIn(await api.ask('/v1/broken', { token }))
    expect(problem).toMatchObject({ status: 500, code: 'API_FAILED' })
    expect(JSON.stringify(problem)).not.toContain('canary')
    await api.ask('/v1/broken', { token })
    expect(lines.filter((line) => line.includes('canary'))).toHaveLength(1)
  })

  test.each([
    ['DATABASE_UNREACHABLE', true, 503],
    ['LETTER_CHANGED', false, 412],
    ['LETTER_UNKNOWN', false, 404],
    ['SCHEMA_VIOLATION', false, 422],
    ['LETTER_CLOSED', false, 409],
  ])('%s, retryable %s: %i', async (code, retryable, status) => {
    const api = failing(new TidegateError(code, { message: 'no', retryable, hint: 'do' }))
    const answer = await api.ask('/v1/broken', { token: await api.tokenOf('viewer') })
    expect(await problemIn(answer)).toMatchObject({ status, code, hint: 'do' })
    expect(api.answered).toEqual([{ route: 'GET /v1/broken', status }])
  })
})
