import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createClient } from '../../../cloud/tool/client.ts'
import {
  effectsModule,
  effectsTable,
  faultsOf,
  type Query,
  replayAll,
  stop,
  watch,
  writeLetters,
} from '../../proof/replay-course.ts'
import { type CloudBench, openCloudBench } from '../../support/cloud/cloud.ts'
import { type CloudProgram, startCloudProgram } from '../../support/cloud/cloud-program.ts'

/** A hundred thousand, and their numbers: `node dist/test/proof/replays.js`. */
const letters = 400

let bench: CloudBench
const query: Query = (sql, values) => bench.rows(sql, values)
let folder: string
let clouds: { client: ReturnType<typeof createClient>; program: CloudProgram }[]
beforeEach(async () => {
  bench = await openCloudBench()
  folder = mkdtempSync(join(tmpdir(), 'tidegate-replays-'))
  await bench.rows(effectsTable)
  const module = bench.module(effectsModule)
  clouds = ['one', 'other'].map((instance) => {
    const socket = join(folder, `${instance}.sock`)
    const config = { consumers: [{ module }], instance, api: { socket, requestsPerSecond: 1000 } }
    const client = createClient({ kind: 'socket', path: socket, headers: {} })
    return { client, program: startCloudProgram(bench.config(config)) }
  })
  await Promise.all(clouds.map(({ program }) => program.started))
  await writeLetters(query, letters, bench.partitions)
}, 120_000)
afterEach(async () => {
  for (const { program } of clouds) await program.kill()
  await bench.close()
  rmSync(folder, { recursive: true, force: true })
})

test('the same filter at once, of two operators and two processes: each letter is in one replay and has its effect once (G4)', async () => {
  const ended = await Promise.all(
    clouds.map(async ({ client }) => watch(client, await replayAll(client), { everyMs: 50 })),
  )
  expect(ended.map(({ state }) => state)).toEqual(['done', 'done'])
  expect(await faultsOf(query, ended, letters)).toEqual([])
}, 60_000)

test('at a rate, stopped on its way and gone on with by another process: no letter is left out, and none sent twice (G4, G5)', async () => {
  const [one, other] = clouds.map(({ client }) => client) as [
    ReturnType<typeof createClient>,
    ReturnType<typeof createClient>,
  ]
  const first = await replayAll(one, 200)
  await watch(one, first, { everyMs: 20, onLook: ({ resolved }) => resolved > 0 })
  await stop(other, first)
  const stopped = await watch(one, first, { everyMs: 50 })
  expect(stopped).toMatchObject({ state: 'stopped', failed: 0 })
  expect(stopped.resolved).toBeLessThan(letters)
  const done = await watch(other, await replayAll(other), { everyMs: 50 })
  expect(done).toMatchObject({ state: 'done', total: letters - stopped.sent })
  expect(await faultsOf(query, [stopped, done], letters)).toEqual([])
}, 60_000)
