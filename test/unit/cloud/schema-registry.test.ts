import { expect, test } from 'vitest'
import type { Storage } from '../../../cloud/database/storage.ts'
import { emptyState, lackingIn, planOf } from '../../../cloud/registry/registry.ts'
import { judgeSchemas } from '../../../cloud/schemas/apply/apply.ts'
import { FakeClock } from '../../support/fakes/clock.ts'
import { turnsDuring } from '../../support/turns.ts'

const filesOf = (...paths: string[]): Map<string, Uint8Array> =>
  new Map(paths.map((path) => [path, Buffer.from('{}')]))

test('what is judged is read type by type, with a turn for others after each: a cloud at work does it', async () => {
  const storage = {
    transaction: async (work: (tx: unknown) => unknown) => work({ query: async () => ({ rows: [] }) }),
  } as unknown as Storage
  const types = Array.from({ length: 50 }, (_, index) => `com.acme.t${index}`)
  const files = filesOf(...types.map((type) => `${type}/1.json`))
  // Compared is nothing of these.
  const wish = { files: new Map([...files, ['com.acme.t0/2.json', Buffer.from('{"type": 7}')] as const]) }
  const { signal } = new AbortController()
  const parts = { storage, clock: new FakeClock(), random: Math.random, signal, formats: 'checked' as const }
  const { result, turns } = await turnsDuring(() => judgeSchemas(wish, parts))
  expect(result.checked.faults).toEqual([expect.stringContaining('com.acme.t0/2.json')])
  expect(result.plan.types).toHaveLength(50)
  expect(turns).toBeGreaterThanOrEqual(150)
})

test.each([
  'com.acme.a/upcast/../../../x.js',
  'com.acme.a/upcast/sub/x.txt',
  'com.acme.a/upcast/1-2.txt',
  'com.acme.a/type.yaml/y',
  'com.acme.a/01.json',
  'com.acme.a/1.json\n',
  'com.acme.a/notes.txt',
  'com.acme.a',
  '../com.acme.a/1.json',
  'snapshot/1.json',
])('a file that is none of schemas is never published, and named: %j', (path) => {
  expect(() => planOf(emptyState, filesOf(path))).toThrow(
    expect.objectContaining({
      code: 'SCHEMA_FOLDER',
      message: expect.stringContaining(path.trimEnd()) as string,
    }) as Error,
  )
})

test('versions, settings, upcasters and their cases are published; the lock stays behind', () => {
  const paths = ['1.json', 'type.yaml', 'upcast/1-2.cases.json', 'upcast/1-2.js', 'upcast/2-3.yaml']
  const files = filesOf('schemas.lock', ...paths.map((path) => `com.acme.a/${path}`))
  expect(planOf(emptyState, files).changes.map(({ path }) => path)).toEqual(
    paths.map((path) => `com.acme.a/${path}`),
  )
})

test('what the registry has of the types that are given, and they lack, is told', () => {
  const published = ['com.acme.a/1.json', 'com.acme.a/2.json', 'com.acme.b/1.json']
  expect(lackingIn(published, filesOf('com.acme.a/2.json'))).toEqual(['com.acme.a/1.json'])
  expect(lackingIn(published, filesOf('com.acme.a/2.json'), ['com.acme.b'])).toEqual([])
})
