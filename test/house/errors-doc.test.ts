import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { publishRefusals } from '../../edge/uplink/exchange.ts'
import { findingCodes } from '../../cloud/queues/findings.ts'
import { connectionRefusals } from '../../edge/mqtt/entrance/identity.ts'
import { connectionEndings } from '../../edge/mqtt/observer.ts'
import { quotaReasons } from '../../edge/outbox/outbox.ts'
import { rejectionReasons } from '../../edge/admission/quarantine.ts'
import { undeliveredReasons } from '../../src/contract/event.ts'

const root = join(import.meta.dirname, '../..')
const doc = readFileSync(join(root, 'docs/ERRORS.md'), 'utf8')
/** Readings of the demonstration fleet have codes too. */
const notOurs = ['dev/fleet/sensors.ts', 'dev/climate-alarms.ts']
const sources = ['src', 'edge', 'cloud', 'certs', 'dev', 'cli'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => `${folder}/${name}`)
    .filter((path) => path.endsWith('.ts') && !notOurs.includes(path))
    .map((path) => readFileSync(join(root, path), 'utf8')),
)

const quoted = (text: string): string[] => [...text.matchAll(/'([^']+)'/g)].map(([, word]) => word as string)

function all(pattern: RegExp): string[] {
  return sources.flatMap((text) =>
    [...text.matchAll(pattern)].flatMap(([, found]) => quoted(found as string)),
  )
}

const thrown = all(/new TidegateError\(\s*([^,]*?),/g)
/** `code: 'X'` and `code: 'X' | 'Y'`: in logs, at the end of a session, and where a fault becomes an error later. */
const named = all(/\bcode: ('[A-Z][A-Z0-9_]+'(?:\s*\|\s*'[A-Z0-9_]+')*)/g)
const reasons = [
  ...publishRefusals,
  ...rejectionReasons,
  ...connectionRefusals,
  ...connectionEndings,
  ...quotaReasons,
  ...undeliveredReasons,
  ...findingCodes,
]
const inCode = new Set<string>([...thrown, ...named, ...reasons])

interface Row {
  code: string
  cells: string[]
}
const rows: Row[] = doc
  .split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .flatMap(([before, first = '', ...cells]) => {
    const code = /^`([A-Za-z][A-Za-z0-9_-]+)`$/.exec(first)?.[1]
    return before === '' && code !== undefined ? [{ code, cells }] : []
  })

function inWords(answers: ReadonlySet<string>): string {
  if (answers.size > 1) return 'depends'
  return answers.has('true') ? 'yes' : 'no'
}

describe('docs/ERRORS.md', () => {
  test('has a line for every code, reason and refusal in the code, and for no other', () => {
    expect(thrown.length).toBeGreaterThan(80)
    expect([...inCode].filter((code) => !rows.some((row) => row.code === code))).toEqual([])
    expect(rows.map(({ code }) => code).filter((code) => !inCode.has(code))).toEqual([])
  })

  test('says what a code means that a letter has if it says none, of ours and of a former version', () => {
    const fallbacks = [...all(/codeIn\(text\(names\.errorCode, ('[A-Z]+')/g)]
    expect(fallbacks.toSorted()).toContain('UNKNOWN')
    for (const code of ['UNEXPECTED', ...fallbacks]) expect(doc).toContain(`\`${code}\` is what`)
  })

  test('has one line for each, and none without something to do', () => {
    const codes = rows.map(({ code }) => code)
    expect(codes.filter((code, index) => codes.indexOf(code) !== index)).toEqual([])
    expect(rows.filter(({ cells }) => cells.slice(0, -1).includes(''))).toEqual([])
  })

  test('says of every error what the code says: whether it may succeed by itself', () => {
    const literal = /new TidegateError\(\s*'([A-Z0-9_]+)'[^;]*?retryable: (true|false)/g
    const said = new Map<string, Set<string>>()
    for (const [, code = '', retryable = ''] of sources.flatMap((text) => [...text.matchAll(literal)]))
      said.set(code, (said.get(code) ?? new Set()).add(retryable))
    expect(said.size).toBeGreaterThan(60)
    const told = new Map(rows.map(({ code, cells }) => [code, cells[1]]))
    for (const [code, answers] of said)
      expect(`${code}: ${told.get(code)}`).toBe(`${code}: ${inWords(answers)}`)
  })
})
