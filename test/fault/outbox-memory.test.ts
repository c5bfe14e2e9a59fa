import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runProgram } from '../support/program.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-memory-'))
})
afterEach(() => rm(folder, { recursive: true }))

test('a backlog of 200 MB is read in flat memory, whatever the driver keeps for each iterator', async () => {
  const said = await runProgram('read-backlog', folder)
  const { read, grownMiB } = JSON.parse(said) as { read: number; grownMiB: number }
  expect(read).toBe(200_000)
  expect(grownMiB).toBeLessThan(60)
})
