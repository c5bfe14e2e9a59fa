import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { citationsIn, missing } from './citations.ts'
import { root } from './sources.ts'

const doc = readFileSync(join(root, 'docs/FOUNDATIONS.md'), 'utf8')
const beliefs = doc.split(/^### /m).slice(1)

const citations = citationsIn('docs/FOUNDATIONS.md')

describe('docs/FOUNDATIONS.md', () => {
  test('says of each belief what relies on it, why it is believed, what proves it and what if it is wrong', () => {
    expect(beliefs.length).toBeGreaterThan(20)
    for (const belief of beliefs) {
      const parts = belief.split(/^\*\*(.+?)\*\*/m)
      expect(parts.filter((_, index) => index % 2 === 1)).toEqual([
        'Relied on.',
        'Believed because.',
        'Proof.',
        'If it is wrong.',
      ])
      const proof = parts[6] ?? ''
      expect(/^- `test\/|^ None here: |RABBIT-ROW/m.test(proof), belief).toBe(true)
    }
  })

  test('numbers each belief once', () => {
    const numbers = beliefs.map((belief) => /^[LANPR]\d+(?= )/.exec(belief)?.[0])
    expect(numbers).not.toContain(undefined)
    expect(new Set(numbers).size).toBe(numbers.length)
  })

  test('names tests that are there', () => {
    expect(citations.length).toBeGreaterThan(30)
    expect(missing(citations)).toEqual([])
  })

  test('names files that are there', () => {
    const files = [...doc.matchAll(/\]\(([^)]+)\)/g)].map(([, file]) => file as string)
    expect(files.length).toBeGreaterThan(25)
    expect(files.filter((file) => !existsSync(join(root, 'docs', file)))).toEqual([])
  })
})
