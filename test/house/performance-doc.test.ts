import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { pageOf } from '../../bench/page/performance.ts'
import { seenOf } from '../../bench/page/text.ts'
import { catalogue } from '../../bench/run/catalogue.ts'
import { readResults } from '../../bench/run/results.ts'
import { root } from './sources.ts'

const results = readResults(readFileSync(join(root, 'bench/results.json'), 'utf8'))
const files = pageOf(results)
const docs = join(root, 'docs')

test('docs/PERFORMANCE.md and its plots are what bench/results.json makes of them: npm run bench -- page', () => {
  for (const [path, text] of files) expect(readFileSync(join(docs, path), 'utf8'), path).toBe(text)
})

test('and there is no plot beside these', () => {
  const folder = join(docs, 'performance')
  const plots = existsSync(folder) ? readdirSync(folder) : []
  expect(plots.map((name) => `performance/${name}`).toSorted()).toEqual(
    [...files.keys()].filter((path) => path !== 'PERFORMANCE.md').toSorted(),
  )
})

test('what the catalogue compares are subjects that there are', () => {
  const unseen = results.cases.flatMap((result) => {
    const comparisons = catalogue.find(({ name }) => name === result.name)?.comparisons ?? []
    return (
      comparisons
        .filter((comparison) => seenOf(result, comparison) === undefined)
        // Of the sizes of `--full` alone.
        .filter(({ of }) => result.full || !of.startsWith('10 M'))
        .map(({ title }) => `${result.name}: ${title}`)
    )
  })
  expect(unseen).toEqual([])
})
