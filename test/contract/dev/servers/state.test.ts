import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { keepState } from '../../../../dev/servers/state.ts'

let dir: string
let file: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tidegate-state-'))
  file = join(dir, 'server.json')
})
afterEach(() => rmSync(dir, { recursive: true }))

test('a data folder keeps its secrets, and only its owner can read them', () => {
  expect(keepState(dir, () => ({ password: 'one' }))).toEqual({ password: 'one' })
  expect(keepState(dir, () => ({ password: 'two', added: 1 }))).toEqual({ password: 'one', added: 1 })
  expect(keepState(dir, () => ({ password: 'two', added: 2 }))).toEqual({ password: 'one', added: 1 })
  expect(statSync(file).mode & 0o077).toBe(0)
  expect(readdirSync(dir)).toEqual(['server.json'])
})

test('secrets that are kept are not written again: a start needs no room on the disk', () => {
  keepState(dir, () => ({ password: 'one' }))
  const before = statSync(file)
  keepState(dir, () => ({ password: 'two' }))
  const { ino, mtimeMs } = statSync(file)
  expect({ ino, mtimeMs }).toEqual({ ino: before.ino, mtimeMs: before.mtimeMs })
})

test('a write that fails leaves the secrets as they were', () => {
  keepState(dir, () => ({ password: 'one' }))
  mkdirSync(`${file}.tmp`)
  expect(() => keepState(dir, () => ({ password: 'two', added: 1 }))).toThrow('EISDIR')
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ password: 'one' })
})

test('secrets that cannot be read are not made anew: the data beside them has the old ones', () => {
  writeFileSync(file, '')
  expect(() => keepState(dir, () => ({ password: 'two' }))).toThrow(
    expect.objectContaining({ code: 'SERVER_STATE_LOST', message: expect.stringContaining(file) }),
  )
  expect(readFileSync(file, 'utf8')).toBe('')
})
