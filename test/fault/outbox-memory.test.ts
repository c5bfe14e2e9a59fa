import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-memory-'))
})
afterEach(() => rm(folder, { recursive: true }))

/** Writes records of a KiB, and tells how much memory of its own the process has on the way through them. */
const script = `
  import { readFileSync } from 'node:fs'
  import { exportTexts } from './dist/edge/outbox/look/export.js'
  import { eventKey } from './dist/edge/outbox/layout/keys.js'
  import { levelFolder } from './dist/edge/store/store-level.js'
  import { systemClock as clock } from './dist/src/clock.js'
  const batch = 2000
  const batches = 100
  const store = await levelFolder({ folder: process.argv[1], reserveBytes: 0, clock }).open()
  const value = 'x'.repeat(1024)
  for (let from = 0; from < batch * batches; from += batch) {
    const records = Array.from({ length: batch }, (_, index) => eventKey('normal', from + index))
    await store.write(records.map((key) => ({ type: 'put', key, value })), { sync: false })
  }
  const ownKiB = () => Number(/RssAnon:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1])
  let read = 0
  let earlyKiB = 0
  for await (const one of exportTexts(store, {})) if (++read === (batch * batches) / 5) earlyKiB = ownKiB()
  console.log(JSON.stringify({ read, grownMiB: (ownKiB() - earlyKiB) / 1024 }))
  await store.close()`

test('a backlog of 200 MB is read in flat memory, whatever the driver keeps for each iterator', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
  await once(child, 'close')
  const { read, grownMiB } = JSON.parse(said) as { read: number; grownMiB: number }
  expect(read).toBe(200_000)
  expect(grownMiB).toBeLessThan(60)
})
