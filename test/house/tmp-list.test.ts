import { readFileSync, writeFileSync } from 'node:fs'
import { test, expect } from 'vitest'
import { allTitles } from './titles.ts'
import { sourcesIn } from './sources.ts'
test('list', () => {
  const t = allTitles()
  writeFileSync('/tmp/tests-scripts/titles.json', JSON.stringify(t, null, 1))
  for (const { path, text } of sourcesIn('test').filter((s) => s.path.endsWith('.test.ts'))) {
    const n = t.filter((x) => x.file === path && x.kind === 'test').length
    const m = [...text.matchAll(/^\s*test(\.\w+)?[(<]/gm)].length
    if (n !== m) console.log('MISMATCH', path, n, m)
  }
  console.log(t.length)
  expect(1).toBe(1)
})
