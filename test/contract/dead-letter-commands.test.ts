import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { obtainClients } from '../support/packages.ts'

beforeAll(() => obtainClients('jq'), 120_000)

const page = readFileSync(join(import.meta.dirname, '../../docs/OPERATIONS.md'), 'utf8')
const [, program = ''] = /\n {2}jq '(\.\[\] \| \{ headers: [^']+)'/.exec(page) ?? []

test('the command that shows dead letters shows one that is no JSON, and those behind it', () => {
  const letters = ['{"id":"a"}', 'not json', '{"id":"b"}'].map((payload) => ({
    payload,
    properties: { headers: {} },
  }))
  const shown = execFileSync('jq', ['-c', program], { input: JSON.stringify(letters), encoding: 'utf8' })
  const events = shown
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { event: unknown }).event)
  expect(events).toEqual([{ id: 'a' }, 'not json', { id: 'b' }])
})
