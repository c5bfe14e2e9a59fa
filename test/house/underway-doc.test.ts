import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

/** edge/UNDERWAY.md names the one place of each count: whoever moves one is told here. */
const edge = join(import.meta.dirname, '../../edge')
const rows = readFileSync(join(edge, 'UNDERWAY.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (what |-)/.test(line))
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )

test('every count has one place that is there, a unit, a bound and somebody who asks', () => {
  expect(rows.length).toBeGreaterThan(20)
  for (const row of rows) {
    expect(row).toHaveLength(5)
    expect(row).not.toContain('')
    const [file = '', ...names] = [...(row[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, name]) => name)
    const text = readFileSync(join(edge, file), 'utf8')
    expect(names.length, file).toBeGreaterThan(0)
    for (const name of names) expect(text, `${name} in ${file}`).toMatch(new RegExp(`${name}\\b`))
  }
})

test('no count has two rows', () => {
  const places = rows.map(([, place]) => place)
  expect(new Set(places).size).toBe(places.length)
})
