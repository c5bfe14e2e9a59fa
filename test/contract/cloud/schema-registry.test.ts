import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import type { Storage } from '../../../cloud/database/storage.ts'
import { readRevisions, readSnapshot, readState } from '../../../cloud/registry/registry-postgres.ts'
import {
  type ApplyParts,
  applySchemas,
  type ApplyWish,
  judgeSchemas,
  signedElsewhere,
  signingWith,
} from '../../../cloud/schemas/apply/apply.ts'
import { systemClock } from '../../../src/clock.ts'
import { openSnapshot, signSnapshot } from '../../../src/schemas/snapshot.ts'
import { createReadyDatabase, urlAs } from '../../support/servers.ts'

const climate = (maximum: number): string =>
  JSON.stringify({ type: 'object', properties: { temperature: { type: 'number', maximum } } })

const filesOf = (texts: Readonly<Record<string, string>>): Map<string, Uint8Array> =>
  new Map(Object.entries(texts).map(([path, text]) => [path, Buffer.from(text)]))

const first = filesOf({ 'com.acme.climate/1.json': climate(100) })
const second = filesOf({
  'com.acme.climate/1.json': climate(100),
  'com.acme.climate/2.json': climate(200),
  'com.acme.climate/type.yaml': 'owner: facilities\n',
})

let url: string
let database: Database
let storage: Storage
beforeEach(async () => {
  url = await createReadyDatabase()
  // As the cloud is: whoever publishes needs no more rights.
  database = poolOf({ url: urlAs('writer', url), poolMax: 4, applicationName: 'test' })
  storage = postgresStorage(database)
})
afterEach(() => database.close())

const { signal } = new AbortController()
const partsOn = (more: Partial<ApplyParts> = {}): ApplyParts => ({
  storage,
  clock: systemClock,
  random: Math.random,
  signal,
  formats: 'checked',
  ...more,
})
const by = { actor: 'local:ada', roles: ['registrar'] }
const apply = (request: ApplyWish, more: Partial<ApplyParts> = {}): ReturnType<typeof applySchemas> =>
  applySchemas({ key: randomUUID(), by, reason: 'test', request }, partsOn(more))
const state = (): ReturnType<typeof readState> => readState(database.query.bind(database))

describe('the registry', () => {
  test('has what was applied, revision by revision, with who did it; what it has already is nothing to do', async () => {
    expect(await apply({ files: first })).toMatchObject({ outcome: 'applied', revision: 1 })
    expect(await apply({ files: second })).toMatchObject({ outcome: 'applied', revision: 2 })
    expect(await apply({ files: second })).toMatchObject({ outcome: 'nothing', revision: 2 })
    const { revision, digest, files } = await state()
    expect(revision).toBe(2)
    expect([...files].map(([path, bytes]) => [path, Buffer.from(bytes).toString()])).toEqual(
      [...second].map(([path, bytes]) => [path, Buffer.from(bytes).toString()]),
    )
    const revisions = await readRevisions(database.query.bind(database), 10)
    expect(revisions).toMatchObject([
      { revision: 2, digest, actor: 'local:ada', reason: 'test', isSigned: false },
      { revision: 1 },
    ])
    expect(
      await database.query('select verb, request from tidegate.deeds order by at limit 1'),
    ).toMatchObject([{ verb: 'apply-schemas', request: { before: 0, revision: 1, files: 1 } }])
  })

  test('keeps what is published as it is, and says which file has another text; earlier texts of type.yaml stay', async () => {
    await apply({ files: second })
    const changed = filesOf({ 'com.acme.climate/1.json': climate(120) })
    await expect(apply({ files: changed })).rejects.toMatchObject({
      code: 'SCHEMA_PUBLISHED',
      message: expect.stringContaining('com.acme.climate/1.json') as string,
    })
    const owner = filesOf({ 'com.acme.climate/type.yaml': 'owner: energy\n' })
    expect(await apply({ files: owner })).toMatchObject({ outcome: 'applied', revision: 2 })
    const texts = await database.query<{ text: string }>(
      `select convert_from(bytes, 'utf8') as text from tidegate.schema_files where path like '%type.yaml' order by revision`,
    )
    expect(texts.map(({ text }) => text)).toEqual(['owner: facilities\n', 'owner: energy\n'])
  })

  test('is changed and deleted by nobody: neither the writer nor whoever owns the tables; its numbers have no hole, and its paths are those of schemas', async () => {
    await apply({ files: first })
    const owner = poolOf({ url: urlAs('owner', url), poolMax: 1, applicationName: 'test' })
    try {
      for (const table of ['schema_revisions', 'schema_files', 'schema_snapshots'])
        for (const each of [database, owner]) {
          for (const change of [`delete from tidegate.${table}`, `update tidegate.${table} set revision = 1`])
            await expect(each.query(change)).rejects.toMatchObject({ code: 'DATABASE_DENIED' })
        }
      await expect(
        database.query(
          `insert into tidegate.schema_revisions (revision, digest, deed) select 7, digest, deed from tidegate.schema_revisions`,
        ),
      ).rejects.toMatchObject({ code: '23514' })
      await expect(
        database.query(
          `insert into tidegate.schema_files (path, revision, sha256, bytes) select path, 1, sha256, bytes from tidegate.schema_files`,
        ),
      ).rejects.toMatchObject({ code: '23505' })
      for (const path of [
        'com.acme.climate/upcast/../../x.js',
        'com.acme.climate/notes.txt',
        'climate/1.json',
      ])
        await expect(
          database.query(
            `insert into tidegate.schema_files (path, revision, sha256, bytes) values ($1, 1, encode(sha256('{}'), 'hex'), '{}')`,
            [path],
          ),
        ).rejects.toMatchObject({ code: '23514' })
    } finally {
      await owner.close()
    }
  })

  test('that somebody has written to by another way is told of, and not used', async () => {
    await apply({ files: first })
    await database.query(
      `insert into tidegate.schema_files (path, revision, sha256, bytes) values ('com.acme.forged/1.json', 1, encode(sha256('{}'), 'hex'), '{}')`,
    )
    await expect(state()).rejects.toMatchObject({ code: 'SCHEMA_REGISTRY' })
  })
})

describe('an apply', () => {
  test('that breaks what is published is refused, with its witness, and a dry look writes nothing', async () => {
    await apply({ files: first })
    const breaking = filesOf({ 'com.acme.climate/2.json': climate(50) })
    const refused = await apply({ files: breaking })
    expect(refused).toMatchObject({ outcome: 'refused', revision: 1 })
    expect(refused.judged?.checked.types[0]?.comparisons[0]?.findings[0]).toMatchObject({
      standing: 'breaks',
      witness: { temperature: expect.any(Number) as number },
    })
    expect(await judgeSchemas({ files: second }, partsOn())).toMatchObject({
      ok: true,
      plan: { changes: [{ path: 'com.acme.climate/2.json', kind: 'added' }, {}], state: { revision: 2 } },
    })
    expect((await state()).revision).toBe(1)
  })

  test('takes some types alone, and says what the registry has and the files lack', async () => {
    await apply({ files: second })
    const some = filesOf({
      'com.acme.climate/1.json': climate(100),
      'com.acme.climate/3.json': climate(300),
      'com.acme.energy/1.json': '{}',
    })
    const { judged } = await apply({ files: some, types: ['com.acme.climate'] })
    expect(judged?.plan.changes.map(({ path }) => path)).toEqual(['com.acme.climate/3.json'])
    expect(judged?.plan.lacking).toEqual(['com.acme.climate/2.json', 'com.acme.climate/type.yaml'])
    expect((await state()).files.has('com.acme.energy/1.json')).toBe(false)
  })

  test('beside another: one waits, judges again by what the other has published, and both are there or one is refused', async () => {
    await apply({ files: first })
    const one = filesOf({ 'com.acme.climate/2.json': climate(200) })
    const other = filesOf({ 'com.acme.energy/1.json': '{}' })
    const outcomes = await Promise.all([apply({ files: one }), apply({ files: other })])
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['applied', 'applied'])
    expect(outcomes.map(({ revision }) => revision).toSorted((one, another) => one - another)).toEqual([2, 3])
    const third = [climate(300), climate(400)].map((text) => filesOf({ 'com.acme.climate/3.json': text }))
    const settled = await Promise.allSettled(third.map((files) => apply({ files })))
    expect(settled.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect((await state()).revision).toBe(4)
  })

  test('that another was faster than is judged again by what is published then, and not by what was', async () => {
    await apply({ files: first })
    const judged: number[] = []
    /** While it looks at what is stored, another publishes. */
    const whileOther = (files: ReadonlyMap<string, Uint8Array>): NonNullable<ApplyParts['gate']> => ({
      async judge() {
        judged.push((await state()).revision)
        if (judged.length === 1) await apply({ files })
        return { ok: true, upTo: '1.2.3', verdicts: [] }
      },
    })
    const energy = filesOf({ 'com.acme.energy/1.json': '{}' })
    const two = filesOf({ 'com.acme.climate/2.json': climate(200) })
    expect(await apply({ files: energy }, { gate: whileOther(two) })).toMatchObject({
      outcome: 'applied',
      revision: 3,
    })
    expect(judged).toEqual([1, 2])
    judged.length = 0
    const narrow = filesOf({ 'com.acme.climate/4.json': climate(300) })
    const wide = filesOf({ 'com.acme.climate/3.json': climate(400) })
    expect(await apply({ files: narrow }, { gate: whileOther(wide) })).toMatchObject({ outcome: 'refused' })
    expect(await state()).toMatchObject({ revision: 4 })
  })

  test.each(['before its commit', 'behind its commit'])(
    'that is cut %s leaves all or nothing, and done again is done once',
    async (where) => {
      let isCut = false
      const cutting: Storage = {
        ...storage,
        transaction: (work, until) =>
          storage
            .transaction(async (tx) => {
              const result = await work(tx)
              const [row] = (
                await tx.query<{ n: number }>('select count(*)::int as n from tidegate.schema_revisions')
              ).rows
              if (where.startsWith('before') && row?.n === 1 && !isCut) {
                isCut = true
                throw new Error('cut')
              }
              return result
            }, until)
            .then(async (result) => {
              const { revision } = await state()
              if (where.startsWith('behind') && revision === 1 && !isCut) {
                isCut = true
                throw new Error('cut')
              }
              return result
            }),
      }
      const deed = { key: randomUUID(), by, reason: 'test', request: { files: first } }
      await expect(applySchemas(deed, partsOn({ storage: cutting }))).rejects.toThrow('cut')
      expect((await state()).revision).toBe(where.startsWith('before') ? 0 : 1)
      await applySchemas(deed, partsOn())
      expect((await state()).revision).toBe(1)
      expect(await database.query(`select from tidegate.deeds where verb = 'apply-schemas'`)).toHaveLength(1)
    },
  )

  test('with what is stored in the way is refused; the gate is asked of what passes alone', async () => {
    const asked: string[][] = []
    const gate: NonNullable<ApplyParts['gate']> = {
      judge(_, { types }) {
        asked.push(types.map(({ type }) => type))
        return Promise.resolve({ ok: false, upTo: '1.2.3', verdicts: [] })
      },
    }
    expect(await apply({ files: first }, { gate })).toMatchObject({
      outcome: 'refused',
      revision: 0,
      judged: { stored: { upTo: '1.2.3' } },
    })
    await apply({ files: filesOf({ 'com.acme.climate/1.json': '{"type": 7}' }) }, { gate })
    expect(asked).toEqual([['com.acme.climate']])
  })
})

const newest = (): ReturnType<typeof readSnapshot> => readSnapshot(database.query.bind(database))

describe('a snapshot', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')

  const of = (revision: number, files: ReadonlyMap<string, Uint8Array>): ReturnType<typeof signedElsewhere> =>
    signedElsewhere(signSnapshot({ revision, madeTime: '2026-11-28T00:00:00Z', files }, privateKey))

  test('is signed with the revision, and again when another state or key asks for it, and else not', async () => {
    const sign = signingWith(privateKey, systemClock)
    expect(await apply({ files: first, sign })).toMatchObject({ outcome: 'applied', isSigned: true })
    const found = await newest()
    expect(openSnapshot(found?.bytes as Uint8Array, [publicKey])).toMatchObject({ revision: 1 })
    expect(await apply({ files: first, sign })).toMatchObject({ outcome: 'nothing', isSigned: false })
    const other = signingWith(generateKeyPairSync('ed25519').privateKey, systemClock)
    expect(await apply({ files: first, sign: other })).toMatchObject({ revision: 1, isSigned: true })
    await apply({ files: second })
    expect(await newest()).toMatchObject({ revision: 1 })
    await apply({ files: second, sign })
    expect(await newest()).toMatchObject({ revision: 2 })
  })

  test('that was signed elsewhere is taken for the state that it was made of, and for no other', async () => {
    for (const sign of [of(2, first), of(1, second)])
      await expect(apply({ files: first, sign })).rejects.toMatchObject({ code: 'SCHEMA_REGISTRY_MOVED' })
    expect((await state()).revision).toBe(0)
    expect(await apply({ files: first, sign: of(1, first) })).toMatchObject({ isSigned: true })
  })
})
