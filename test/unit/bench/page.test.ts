import { describe, expect, test } from 'vitest'
import { pageOf, standing } from '../../../bench/page/performance.ts'
import { reportOf } from '../../../bench/page/terminal.ts'
import { againstRows, subjectTables } from '../../../bench/page/text.ts'
import { catalogue, type CatalogueEntry } from '../../../bench/run/catalogue.ts'
import { type CaseResult, mergeResults, readResults, subjectsOf } from '../../../bench/run/results.ts'
import { inTurns } from '../../../bench/run/rounds.ts'

const machine = { cores: 2, model: 'A CPU', node: 'v20.20.2', kernel: '6.1.0', loadBefore: 0.3 }

function ingest(parts: Partial<CaseResult> = {}): CaseResult {
  return {
    name: 'ingest',
    measuredAt: '2026-11-26T20:00:00.000Z',
    revision: 'abc1234',
    full: false,
    rounds: 3,
    machine,
    subjects: [
      { name: 'Mosquitto, in memory', figures: { eventsPerSecond: [100_000, 90_000, 110_000] } },
      {
        name: 'tidegate edge',
        figures: { eventsPerSecond: [50_000, 63_000, 66_000], cpuMicros: [20, 21, 19] },
      },
    ],
    ...parts,
  }
}

const quietly = { rounds: 1, say: () => undefined, settle: () => Promise.resolve() }

/** Reads results with this subject. */
function reading(subject: object): () => unknown {
  return () => readResults(JSON.stringify({ version: 1, cases: [ingest({ subjects: [subject as never] })] }))
}

const entry = catalogue.find(({ name }) => name === 'ingest') as CatalogueEntry

describe('subjects take turns', () => {
  test('in every round each, and one that is measured once in the first alone', async () => {
    const turns: string[] = []
    const subject = (name: string, once?: true) => ({
      name,
      ...(once && { once }),
      measure: () => Promise.resolve({ eventsPerSecond: turns.push(name) }),
    })
    let settled = 0
    const measured = await inTurns([subject('a'), subject('b'), subject('c', true)], {
      ...quietly,
      rounds: 2,
      settle: () => Promise.resolve(expect(turns).toHaveLength(settled++)),
    })
    expect(turns).toEqual(['a', 'b', 'c', 'a', 'b'])
    expect(settled).toBe(5)
    expect(measured).toEqual([
      { subject: 'a', figures: { eventsPerSecond: [1, 4] } },
      { subject: 'b', figures: { eventsPerSecond: [2, 5] } },
      { subject: 'c', figures: { eventsPerSecond: [3] } },
    ])
  })

  test('and whose a subject is stands beside it, if it is of another checkout', async () => {
    const product = { revision: 'abc1234', root: '/elsewhere' }
    const measured = await inTurns(
      [{ name: 'edge', product, measure: () => Promise.resolve({ cpuMicros: 1.234_567 }) }],
      quietly,
    )
    expect(subjectsOf(measured)).toEqual([
      { name: 'edge', revision: 'abc1234', figures: { cpuMicros: [1.2346] } },
    ])
  })
})

describe('results', () => {
  test('are read as they were written', () => {
    const results = { version: 1 as const, cases: [ingest()] }
    expect(readResults(JSON.stringify(results))).toEqual(results)
  })

  test('with a figure or a key that nobody knows, or without values, are refused', () => {
    expect(reading({ name: 'edge', figures: { eventsPerMinute: [1] } })).toThrow('eventsPerMinute')
    expect(reading({ name: 'edge', figures: {}, speed: 1 })).toThrow('speed')
    expect(reading({ name: 'edge', figures: { cpuMicros: [] } })).toThrow('too_small')
  })

  test('that are newer take the place of former ones of their case, in the order of the catalogue', () => {
    const former = { version: 1 as const, cases: [ingest({ name: 'drain' }), ingest({ revision: 'old' })] }
    const merged = mergeResults(former, [ingest({ revision: 'new' })], ['ingest', 'drain'])
    expect(merged.cases.map(({ name, revision }) => [name, revision])).toEqual([
      ['ingest', 'new'],
      ['drain', 'abc1234'],
    ])
  })
})

describe('what is told of a run', () => {
  test('has medians with what the rounds lay between, in a table for those that show the same', () => {
    const bare = { name: 'bare aedes', figures: { eventsPerSecond: [120_000] } }
    expect(subjectTables(ingest({ subjects: [...ingest().subjects, bare] }))).toEqual([
      [
        ['', 'events/s'],
        ['Mosquitto, in memory', '100,000 (90,000–110,000)'],
        ['bare aedes', '120,000'],
      ],
      [
        ['', 'events/s', 'CPU µs/event'],
        ['tidegate edge', '63,000 (50,000–66,000)', '20.0 (19.0–21.0)'],
      ],
    ])
  })

  test('begins with the machine and the ratios', () => {
    const report = reportOf(entry, ingest())
    expect(report).toContain('2 × A CPU, Node v20.20.2, Linux 6.1.0; load average before: 0.3')
    expect(report).toMatch(/ingest, events\/s : Mosquitto in memory +0\.600 \(0\.500–0\.700\)/)
    expect(report.indexOf('0.600')).toBeLessThan(report.indexOf('63,000'))
  })

  test('compares two checkouts figure by figure, and says which way is better', () => {
    const figures = { eventsPerSecond: [100, 100, 100], cpuMicros: [10, 10, 10] }
    const theirs = { eventsPerSecond: [50, 40, 50], cpuMicros: [20, 20, 20] }
    const result = ingest({
      subjects: [
        { name: 'tidegate edge', figures },
        { name: 'tidegate edge', revision: 'abc1234', figures: theirs },
      ],
    })
    expect(againstRows(result).slice(1)).toEqual([
      ['tidegate edge', 'events/s', '2.00 (2.00–2.50)', 'more is better'],
      ['tidegate edge', 'CPU µs/event', '0.500', 'less is better'],
    ])
    expect(reportOf(entry, result)).toContain('new : old')
  })
})

describe('the page', () => {
  test.each([
    [0.3, 'short'],
    [0.45, 'done'],
    [0.7, 'target'],
    [1.2, 'stretch'],
  ])('says of a rate of %f how far it has come: %s', (median, reached) => {
    const aim = { done: 0.45, target: 0.65, stretch: 1 }
    const comparison = { title: '', figure: 'eventsPerSecond', of: 'a', to: 'b', aim } as const
    expect(standing(comparison, { median, min: median, max: median })).toBe(reached)
  })

  test.each([
    [8, 'short'],
    [4.5, 'done'],
    [4, 'target'],
  ])('and of what should be little, such as %f, too: %s', (median, reached) => {
    const comparison = { title: '', figure: 'diskBytes', of: 'a', aim: { done: 5, target: 4 } } as const
    expect(standing(comparison, { median, min: median, max: median })).toBe(reached)
  })

  test('has every aim, measured or not, and links the bars that it draws', () => {
    const files = pageOf({ version: 1, cases: [ingest()] })
    const page = files.get('PERFORMANCE.md') ?? ''
    for (const { title } of catalogue.flatMap(({ comparisons }) => comparisons.filter(({ aim }) => aim)))
      expect(page).toContain(title)
    expect(page).toMatch(
      /ingest, events\/s : Mosquitto in memory +\| \*\*0\.600 \(0\.500–0\.700\)\*\* +\| done /,
    )
    expect(page).toContain('not measured')
    const linked = [...page.matchAll(/\]\((performance\/[^)]+)\)/g)].map(([, path]) => path)
    expect(linked).toEqual([...files.keys()].filter((path) => path !== 'PERFORMANCE.md'))
    expect(linked).toHaveLength(2)
  })

  test('draws a bar for each subject, as long as its median, and tells it', () => {
    const files = pageOf({ version: 1, cases: [ingest()] })
    const svg = files.get('performance/ingest-eventsPerSecond.svg') ?? ''
    const widths = [...svg.matchAll(/height="18"/g)]
    expect(widths).toHaveLength(2)
    expect(svg).toContain('>63,000</text>')
  })
})
