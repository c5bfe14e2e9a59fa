import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CheckedFolder, checkFolder } from '../../../cloud/schemas/checks.ts'
import type { GateProgress, GateReport } from '../../../cloud/schemas/gate/gate.ts'
import { storedGate } from '../../../cloud/schemas/gate/stored-gate.ts'
import { partsOf, postgresStored } from '../../../cloud/schemas/gate/stored-postgres.ts'
import type { Stored } from '../../../cloud/schemas/gate/stored.ts'
import { checkedText } from '../../../cloud/schemas/told.ts'
import { gateText } from '../../../cloud/schemas/gate/told.ts'
import type { Database, Session } from '../../../cloud/database/database-postgres.ts'
import { Random } from '../../../cloud/schemas/documents/random.ts'
import { registryOf } from '../../../src/schemas/registry.ts'
import { loadUpcasts } from '../../../src/schemas/upcast/folder.ts'
import { TidegateError } from '../../../src/errors.ts'
import { documentsNear, pairs } from '../../support/cloud/schemas/pairs.ts'
import { schemasOf } from '../../support/cloud/schemas/sources.ts'
import { type FakeEvent, fakeStored, type FakeStored } from '../../support/fakes/stored.ts'

const type = 'com.acme.climate'
const mondayMs = Date.parse('2026-01-05T00:00:00Z')
const dayMs = 86_400_000

const judge = (stored: Stored, files: Record<string, unknown>): Promise<GateReport> => {
  const folder = schemasOf(files)
  return storedGate(stored).judge(folder, checkFolder(folder, []))
}

/** As if the two had been compared, which takes longer than all the rest. */
const compared: CheckedFolder = {
  ok: true,
  faults: [],
  unlocked: [],
  missing: [],
  inTheWay: 0,
  types: [
    {
      type,
      mode: 'BACKWARD',
      comparisons: [
        {
          type,
          version: 2,
          against: 1,
          direction: 'BACKWARD',
          answer: 'compatible',
          tried: 0,
          findings: [],
          steps: ['1-2'],
        },
      ],
    },
  ],
}

/** Versions that there are, one that there is not, and names that are of none. */
const named = (name: string | undefined): { dataschema?: string } =>
  name === undefined ? {} : { dataschema: `${type}/${name}` }

/** What is to be the same, whether shapes were asked or everything was read. */
const essence = ({ ok, upTo, verdicts }: GateReport): unknown => [
  ok,
  upTo,
  verdicts.map(({ groups, letters }) => [groups, letters]),
]

interface Course {
  differing: string[]
  /** Parts that were read with shapes, and that there were. */
  read: number
  parts: number
  failing: number
}

/** Histories of documents near to pairs of schemas, judged with shapes of some of the events and without any. */
async function courses(
  count: number,
  seed: number,
  wrong: (stored: FakeStored) => Stored = (one) => one,
): Promise<Course> {
  const course: Course = { differing: [], read: 0, parts: 0, failing: 0 }
  for (const pair of fc.sample(pairs, { numRuns: count, seed })) {
    const folder = schemasOf({ [`${type}/1.json`]: pair.writer, [`${type}/2.json`]: pair.reader })
    if (folder.faults.length > 0) continue
    const random = new Random(pair.seed)
    const documents = [...documentsNear([pair.writer, pair.reader], 30, pair.seed)]
    const events = documents.map((data, at): FakeEvent => ({
      data,
      ...named(random.of(['1', '1', '1', '1', '1', '2', '2', '3', 'v2', '01', '1234567', undefined])),
      recordedMs: mondayMs + (at % 12) * 7 * dayMs + random.upTo(6) * dayMs,
    }))
    const withShapes = fakeStored(events, { shaped: 20 + random.upTo(10) })
    const whole = await storedGate(fakeStored(events)).judge(folder, compared)
    const asked = await storedGate(wrong(withShapes)).judge(folder, compared)
    course.read += withShapes.readParts.length
    course.parts += 12
    course.failing += whole.verdicts
      .flatMap(({ groups }) => groups)
      .reduce((sum, one) => sum + one.failing, 0)
    if (JSON.stringify(essence(asked)) !== JSON.stringify(essence(whole)))
      course.differing.push(JSON.stringify(pair))
  }
  return course
}

describe('the gate, with shapes and without', () => {
  test('comes to the same, and reads less', async () => {
    const { differing, read, parts, failing } = await courses(100, 3)
    expect(differing).toEqual([])
    expect(failing).toBeGreaterThan(200)
    expect(read).toBeLessThan(parts)
    expect(read).toBeGreaterThan(0)
  })

  test.each<[string, (stored: FakeStored) => Stored]>([
    [
      'shapes are said to be further than they are',
      (stored) => ({
        ...stored,
        standing: async (types) => {
          const standing = await stored.standing(types)
          return {
            ...standing,
            shapes: { ...standing.shapes, upTo: standing.upTo } as typeof standing.shapes,
          }
        },
        count: async (reading) => stored.count({ ...reading, upTo: '1.1.20' }),
      }),
    ],
    [
      'what was not counted is not missed',
      (stored) => ({
        ...stored,
        standing: async (types) => {
          const standing = await stored.standing(types)
          const { shapes } = standing
          if ('why' in shapes) return standing
          const tops = shapes.tops.filter(({ version }) => version !== 1)
          return { ...standing, shapes: { ...shapes, tops } }
        },
        // As many as the shapes have, whatever there is.
        count: async ({ part, upTo }) => {
          const { shapes } = await stored.standing([])
          if ('why' in shapes) return 0
          const tops = shapes.tops.filter(
            (row) =>
              row.version !== 1 && row.weekMs >= part.fromMs && row.weekMs < part.untilMs && upTo !== '',
          )
          return tops.reduce((sum, { events }) => sum + events, 0)
        },
      }),
    ],
  ])('if %s it is noticed', async (_, wrong) => {
    expect((await courses(40, 3, wrong)).differing.length).toBeGreaterThan(0)
  })
})

const upTo = (maximum: number): object => ({ properties: { t: { type: 'number', maximum } } })
const event = (t: number, version?: number): FakeEvent => ({
  data: { t },
  ...(version !== undefined && { dataschema: `${type}/${version}` }),
  recordedMs: mondayMs,
})

const three = (mode: string): Record<string, unknown> => ({
  [`${type}/type.yaml`]: `compatibility: ${mode}\nasPublished: 2\n`,
  [`${type}/1.json`]: upTo(30),
  [`${type}/2.json`]: upTo(20),
  [`${type}/3.json`]: upTo(10),
})

const tenfold = (data: unknown): unknown => ({ t: (data as { t: number }).t * 10 })

const awaiting = (): never => {
  throw new TidegateError('SCHEMA_UNKNOWN', {
    message: 'its code is not here',
    retryable: true,
    hint: '',
  })
}

describe('which versions are asked', () => {
  const events = [event(5, 1), event(25, 1), event(15, 2), event(5, 3), event(12, 3)]
  const verdictOf = async (mode: string) => (await judge(fakeStored(events), three(mode))).verdicts

  test.each([
    ['BACKWARD', [2, 3], false],
    ['BACKWARD_TRANSITIVE', [1, 2, 3], false],
    ['FULL', [2, 3], false],
    // Nobody is to read what is stored; what names the version itself breaks it all the same.
    ['FORWARD', [3], false],
    ['NONE', [3], false],
  ])('%s: events of %j', async (mode, versions) => {
    const verdicts = await verdictOf(mode)
    expect(verdicts.map(({ version }) => version)).toEqual([3])
    expect(verdicts[0]?.groups.map(({ version }) => version)).toEqual(versions)
    expect(verdicts[0]?.groups.every(({ failing, standing }) => failing === 1 && standing === 'fails')).toBe(
      true,
    )
  })

  test('of a type of which nothing is stored nothing is in the way', async () => {
    const { ok, verdicts } = await judge(fakeStored([event(5, 9)]), three('BACKWARD'))
    expect(ok).toBe(true)
    expect(verdicts).toMatchObject([{ groups: [] }])
  })

  test('what could bring old events forward is named step by step, as the folder takes it', async () => {
    const files = { ...three('BACKWARD_TRANSITIVE'), [`${type}/2.json`]: upTo(40) }
    const folder = schemasOf(files)
    const checked = checkFolder(folder, [])
    const told = [
      checkedText(checked),
      gateText(await storedGate(fakeStored([event(25, 1)])).judge(folder, checked)),
    ]
    for (const text of told) {
      expect(text).toMatch(/with upcast\/1-2\.yaml and upcast\/2-3\.yaml[,;] or/)
      expect(text).not.toMatch(/1-3\.yaml/)
    }
    const steps = Object.fromEntries(
      ['1-2', '2-3'].map((step) => [`${type}/upcast/${step}.yaml`, '- drop: /t\n']),
    )
    const { source, types } = schemasOf({ ...files, ...steps })
    await expect(loadUpcasts(source, registryOf(types))).resolves.toBeDefined()
  })

  test('acceptance of one version is none of another', async () => {
    const files = {
      ...three('BACKWARD_TRANSITIVE'),
      [`${type}/type.yaml`]: `compatibility: BACKWARD_TRANSITIVE\nasPublished: 2\naccepted:\n  - { version: 3, against: 1, rule: stored, path: '', reason: gone }\n`,
    }
    const { ok, verdicts } = await judge(fakeStored([event(25, 1), event(15, 2)]), files)
    expect(ok).toBe(false)
    expect(verdicts[0]?.groups.map(({ standing }) => standing)).toEqual(['accepted', 'fails'])
  })

  test('what an upcaster is to bring forward is read, also where the new version would take it as it is', async () => {
    const folder = schemasOf({ [`${type}/1.json`]: upTo(30), [`${type}/2.json`]: upTo(30) })
    const upcasts = { find: () => ({ from: 1, to: 2, apply: tenfold }) }
    const stored = fakeStored([event(2, 1), event(6, 1)], { shaped: 2 })
    const { ok, verdicts } = await storedGate(stored).judge(folder, compared, { upcasts })
    expect(ok).toBe(false)
    expect(verdicts).toMatchObject([{ groups: [{ stored: 2, failing: 1, first: { id: 'id-1' } }] }])
  })

  test('an event that waits for the code of an upcaster is none that passes', async () => {
    const folder = schemasOf({ [`${type}/1.json`]: upTo(30), [`${type}/2.json`]: upTo(30) })
    const upcasts = { find: () => ({ from: 1, to: 2, apply: awaiting }) }
    const stored = fakeStored([event(5, 1), event(6, 1)])
    const { ok, verdicts } = await storedGate(stored).judge(folder, compared, { upcasts })
    expect(ok).toBe(false)
    expect(verdicts).toMatchObject([{ groups: [{ stored: 2, failing: 2, standing: 'fails' }] }])
  })

  test('an event that names no version and fits a newer one waits, and does not fail', async () => {
    const files = {
      [`${type}/1.json`]: { type: 'object', required: ['old'] },
      [`${type}/2.json`]: { type: 'object', required: ['old', 't'] },
      [`${type}/3.json`]: { type: 'object', required: ['new'] },
    }
    const folder = schemasOf(files)
    const { verdicts } = await storedGate(fakeStored([{ data: { new: 1 }, recordedMs: mondayMs }])).judge(
      folder,
      compared,
    )
    expect(verdicts).toMatchObject([{ version: 2, groups: [{ version: undefined, stored: 1, failing: 0 }] }])
  })

  test('a letter that holds anything at all is no event that passes', async () => {
    const letters = ['', 'null', '[]', '{"type":7}', '{"type":"x","data":1}'].map((text) => ({
      code: 'SCHEMA_VIOLATION',
      text,
    }))
    const { verdicts } = await judge(fakeStored(events, { letters }), three('BACKWARD'))
    expect(verdicts[0]?.letters).toMatchObject({ refused: 5, others: 0 })
  })
})

describe('what came after the shapes', () => {
  const files = { [`${type}/1.json`]: upTo(30), [`${type}/2.json`]: upTo(20) }
  const weekly = Array.from({ length: 12 }, (_, at) => ({
    ...event(5, 1),
    recordedMs: mondayMs + at * 7 * dayMs,
  }))

  test('is work, and is told', async () => {
    const folder = schemasOf(files)
    const told: GateProgress[] = []
    const report = await storedGate(fakeStored(weekly, { shaped: 9 })).judge(folder, compared, {
      onProgress: (progress) => told.push({ ...progress }),
    })
    expect(report.verdicts[0]?.partitions).toMatchObject({ there: 12, read: [], tails: { length: 3 } })
    expect(told.at(-1)).toMatchObject({ toRead: 12, done: 12, read: 3 })
    expect(gateText(report)).toMatch(
      /0 of 12 partitions were read, for the shapes exclude the others but for what came after them, which was read of 3$/m,
    )
  })

  test('has a note where the projection is not live', async () => {
    const stored = fakeStored(weekly, { shaped: 1 })
    const building: Stored = {
      ...stored,
      standing: async (types) => {
        const standing = await stored.standing(types)
        return { ...standing, shapes: { ...standing.shapes, state: 'building' } as typeof standing.shapes }
      },
    }
    expect(gateText(await judge(building, files))).toMatch(
      /^NOTE {7}the projection shapes is building: what it has not counted was read$/m,
    )
  })

  test('a shape that is made anew meanwhile is not believed, and one that has grown says less', async () => {
    const folder = schemasOf(files)
    const stored = fakeStored([...weekly, event(25, 1)], { shaped: 12 })
    const later = fakeStored([...weekly, event(25, 1)], { shaped: 13 })
    const anew: Stored = { ...stored, shape: () => Promise.resolve([]) }
    const [asIs, made, grown] = [
      await storedGate(stored).judge(folder, compared),
      await storedGate(anew).judge(folder, compared),
      await storedGate({ ...stored, shape: (key) => later.shape(key) }).judge(folder, compared),
    ]
    expect([asIs, made, grown].map(({ verdicts }) => verdicts[0]?.partitions.read.length)).toEqual([0, 12, 1])
    for (const one of [made, grown]) expect(essence(one)).toEqual(essence(asIs))
  })
})

test('of large events a page is asked for no more than twice what the last one had (G7)', async () => {
  const limits: unknown[] = []
  const rows = [40, 60, 120, 240, 480, 960, 1000, 0]
  const session = {
    query: (_: string, values: unknown[]) => {
      limits.push(values[6])
      const length = rows.shift() ?? 0
      return Promise.resolve(Array.from({ length }, () => ({ cursor: '1.1.1', text: null })))
    },
  } as unknown as Session
  const reading = { type, part: part('one', 0, 1), after: '', upTo: '9.9.9', versions: [1] }
  for await (const page of postgresStored({} as Database, session).read(reading)) expect(page).toEqual([])
  expect(limits).toEqual([100, 80, 120, 240, 480, 960, 1000, 1000])
})

const part = (name: string, fromMs: number, untilMs: number) => ({ name, fromMs, untilMs })

test('spans that have no partition of their own are parts of the one for all others', () => {
  expect(
    partsOf([part('before', -Infinity, 0), part('events_other', -Infinity, Infinity), part('two', 10, 20)]),
  ).toEqual([
    part('before', -Infinity, 0),
    part('events_other', 0, 10),
    part('two', 10, 20),
    part('events_other', 20, Infinity),
  ])
})
