import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { LeashPlan } from '../../../../dev/servers/leash.ts'
import { startOnLeash } from '../../../../dev/servers/leashed.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tidegate-leash-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

function plan(script: string, rest: Partial<LeashPlan> = {}): LeashPlan {
  return {
    server: { file: '/bin/sh', args: ['-c', script], env: { PATH: '/usr/bin:/bin' }, cwd: dir },
    helpers: [],
    stopSignal: 'SIGTERM',
    graceMs: 10_000,
    consoleFile: join(dir, 'console.log'),
    ...rest,
  }
}

const printed = (): string => readFileSync(join(dir, 'console.log'), 'utf8')
const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0) && !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

test('a server is stopped by its own signal and may end in good order', async () => {
  const server = await startOnLeash(
    plan('trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.05; done'),
  )
  await vi.waitFor(() => expect(printed()).toContain('up'))
  server.stop()
  expect(await server.ended).toBe('exit code 0')
  expect(printed()).toContain('bye')
})

test('a server that will not stop is killed with all its children when its grace is over', async () => {
  const script = 'trap "" TERM; sleep 1000 & echo $!; echo up; wait; sleep 1000'
  const server = await startOnLeash(plan(script, { graceMs: 100 }))
  await vi.waitFor(() => expect(printed()).toContain('up'))
  const childPid = Number(printed().split('\n')[0])
  server.stop()
  expect(await server.ended).toBe('SIGKILL')
  await vi.waitFor(() => expect(isAlive(childPid)).toBe(false))
})

test('a helper lives as long as its server and no longer', async () => {
  const helper = { file: '/bin/sh', args: ['-c', 'echo helper $$; exec sleep 1000'], cwd: dir }
  const server = await startOnLeash(plan('exec sleep 1000', { helpers: [helper] }))
  const helperPid = await vi.waitFor(() => {
    const [, pid] = /helper (\d+)/.exec(printed()) ?? []
    expect(pid).toBeDefined()
    return Number(pid)
  })
  expect(isAlive(helperPid)).toBe(true)
  server.kill()
  expect(await server.ended).toBe('SIGKILL')
  expect(isAlive(helperPid)).toBe(false)
})

test('the death of a server is reported with its cause', async () => {
  const server = await startOnLeash(plan('exit 3'))
  expect(await server.ended).toBe('exit code 3')
})

test('a server whose file is missing is refused', async () => {
  const server = { file: '/no/such/server', args: [], cwd: dir }
  await expect(startOnLeash(plan('', { server }))).rejects.toThrow('ENOENT')
})
