import { expect, test } from 'vitest'
import { sourcesIn } from './sources.ts'
import { numbersIn, titlesOf } from './titles.ts'

test('titles are read as vitest reads them: in suites, in tables, in loops, over several lines', () => {
  const text = `
describe.each([['a (', 1]])('a suite %s', () => {
  test('does', () => {})
  for (const seed of seeds) test(\`loops (G1, seed \${seed})\`, () => {})
})
test.each<[string, (n: number) => void]>([
  ['x', () => {}], // ) in a comment
])(
  "says 'it'",
  () => {},
)`
  expect(titlesOf('f', text).map(({ kind, full }) => `${kind}: ${full}`)).toEqual([
    'suite: a suite %s',
    'test: a suite %s does',
    'test: a suite %s loops (G1, seed ${seed})',
    "test: says 'it'",
  ])
})

test('a title carries the numbers in its brackets', () => {
  expect(numbersIn('loses nothing (of G2) at once (G1, I3, seed 7)')).toEqual(['G1', 'I3'])
})

test('every test that a file has is read', () => {
  const unread = sourcesIn('test')
    .filter(({ path }) => path.endsWith('.test.ts') && path !== 'test/house/titles.test.ts')
    .filter(({ path, text }) => {
      const calls = text.match(/^ *(?:for \([^\n]*\) )?test(?:\.each|\.for)?[(<]/gm)?.length ?? 0
      return titlesOf(path, text).filter(({ kind }) => kind === 'test').length !== calls
    })
  expect(unread.map(({ path }) => path)).toEqual([])
})
