import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { holderOf, lockFolder } from '../../../../dev/servers/lock.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidegate-lock-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const ownerOfLock = (): unknown => JSON.parse(readFileSync(join(folder, 'lock'), 'utf8'))
const leaveLock = (content: string): void => writeFileSync(join(folder, 'lock'), content)

test('a folder in use is refused, naming the process that uses it', () => {
  const lock = lockFolder(folder)
  expect(() => lockFolder(folder)).toThrow(
    expect.objectContaining({
      code: 'ALREADY_RUNNING',
      message: expect.stringContaining(String(process.pid)),
    }),
  )
  lock.release()
})

test('a released folder is free again, and releasing twice does not free a successor’s lock', () => {
  const first = lockFolder(folder)
  first.release()
  const second = lockFolder(folder)
  first.release()
  expect(() => lockFolder(folder)).toThrow('already running')
  second.release()
})

test('the lock of a dead process is taken over', () => {
  const dead = spawnSync('true').pid
  leaveLock(JSON.stringify({ pid: dead, startTicks: '1' }))
  const lock = lockFolder(folder)
  expect(ownerOfLock()).toEqual(holderOf(process.pid))
  lock.release()
})

test('a live process with the pid of a dead owner does not hold its lock', () => {
  leaveLock(JSON.stringify({ ...holderOf(process.pid), startTicks: '1' }))
  const lock = lockFolder(folder)
  expect(ownerOfLock()).toEqual(holderOf(process.pid))
  lock.release()
})

test('a lock file that says nothing is taken over', () => {
  leaveLock('')
  const lock = lockFolder(folder)
  expect(ownerOfLock()).toEqual(holderOf(process.pid))
  lock.release()
})

test('nothing but the lock itself is ever left in the folder', () => {
  leaveLock('{}')
  const lock = lockFolder(folder)
  expect(() => lockFolder(folder)).toThrow('already running')
  expect(readdirSync(folder)).toEqual(['lock'])
  lock.release()
  expect(readdirSync(folder)).toEqual([])
})
