import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CheckedFolder, checkFolder } from '../../../cloud/schemas/checks.ts'
import type { GateReport } from '../../../cloud/schemas/gate/gate.ts'
import { storedGate } from '../../../cloud/schemas/gate/stored-gate.ts'
import { partsOf } from '../../../cloud/schemas/gate/stored-postgres.ts'
import type { Stored } from '../../../cloud/schemas/gate/stored.ts'
import { Random } from '../../../cloud/schemas/documents/random.ts'
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
        { type, version: 2, against: 1, direction: 'BACKWARD', answer: 'compatible', tried: 0, findings: [] },
      ],
    },
  ],
}

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
      dataschema: `${type}/${random.of([1, 1, 1, 2])}`,
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
          const rows = shapes.rows.filter(({ version }) => version !== 1)
          return { ...standing, shapes: { ...shapes, rows } }
        },
        // As many as the shapes have, whatever there is.
        count: async ({ part, upTo }) => {
          const { shapes } = await stored.standing([])
          if ('why' in shapes) return 0
          const tops = shapes.rows.filter(
            (row) =>
              row.version !== 1 &&
              row.pointer === '' &&
              row.weekMs >= part.fromMs &&
              row.weekMs < part.untilMs &&
              upTo !== '',
          )
          return tops.reduce(
            (sum, { nulls, booleans, integers, fractions, strings, arrays, objects }) =>
              sum + nulls + booleans + integers + fractions + strings + arrays + objects,
            0,
          )
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

  test('acceptance of one version is none of another', async () => {
    const files = {
      ...three('BACKWARD_TRANSITIVE'),
      [`${type}/type.yaml`]: `compatibility: BACKWARD_TRANSITIVE\nasPublished: 2\naccepted:\n  - { version: 3, against: 1, rule: stored, path: '', reason: gone }\n`,
    }
    const { ok, verdicts } = await judge(fakeStored([event(25, 1), event(15, 2)]), files)
    expect(ok).toBe(false)
    expect(verdicts[0]?.groups.map(({ standing }) => standing)).toEqual(['accepted', 'fails'])
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
