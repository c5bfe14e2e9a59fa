import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import type { Projection } from '../../../cloud/projections/definition.ts'
import { type RunningProjections, startProjections } from '../../../cloud/projections/projections.ts'
import { type Outcome, run } from '../../../dev/servers/command.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { counting } from '../../support/cloud/counting.ts'
import { storeEvents } from '../../support/cloud/projection-bench.ts'
import { type ServedApi, serveApi } from '../../support/cloud/served-api.ts'

const tidegate = join(import.meta.dirname, '../../../dist/cli/tidegate.js')
let served: ServedApi
const running: RunningProjections[] = []

beforeAll(async () => {
  served = await serveApi()
  const ledger = new Ledger()
  const events = ['a', 'b', 'a', 'c'].map((device) => ledger.next(device))
  await storeEvents(postgresStorage(served.database), events)
  const failing = counting({
    version: 2,
    async apply(given, context) {
      if (given.some(({ id }) => id === 'id-3'))
        throw Object.assign(new Error('secret 4711'), { code: 'SITE_UNKNOWN' })
      await counting().apply(given, context)
    },
  })
  const start = (projection: Projection): void =>
    void running.push(
      startProjections({
        projections: [projection],
        database: served.database,
        instance: 'test',
        timeoutMs: 5_000,
        clock: systemClock,
        random: Math.random,
        log: silentLog,
      }),
    )
  // The first there is is the one that readers see.
  start(counting())
  await until('live')
  start(failing)
  await until('live,halted')
})
afterAll(async () => {
  for (const one of running) await one.close()
  await served.close()
})

async function status(): Promise<{
  active: number
  versions: { state: string; applied: number; halted: object }[]
}> {
  const response = await served.get('/v1/projections/counting', await served.tokenOf('viewer'))
  return (await response.json()) as never
}

async function until(states: string): Promise<void> {
  while ((await status()).versions?.map(({ state }) => state).join() !== states) await systemClock.sleep(20)
}

const local = (...args: string[]): Promise<Outcome> =>
  run({
    file: process.execPath,
    args: [tidegate, 'projections', ...args, '--config', served.configFile],
    env: { PATH: process.env['PATH'] },
  })
const because = ['--reason', 'tried']

test('from a terminal a version is seen, resumed, compared, switched to and back, and dropped, each a deed (G8)', async () => {
  const stopped = await local('status', 'counting')
  expect([stopped.code, stopped.stdout]).toEqual([1, expect.stringContaining('SITE_UNKNOWN: secret 4711')])
  expect((await local('switch', 'counting', '2', ...because)).stderr).toContain('PROJECTION_BEHIND')
  expect((await local('resume', 'counting', '2', '--skip', 'id-1', ...because)).stderr).toContain(
    'PROJECTION_HALTED_ELSEWHERE',
  )
  expect((await local('drop', 'counting', '2', ...because)).stderr).toContain('PROJECTION_HELD')
  expect((await local('resume', 'counting', '2', '--skip', 'id-3', '--dry-run')).stdout).toBe(
    'counting 2 would go on, without id-3 of /devices/a\n',
  )
  expect((await local('resume', 'counting', '2', '--skip', 'id-3', ...because)).code).toBe(0)
  await expect.poll(async () => (await status()).versions[1]?.state).toBe('live')
  const compared = await local('compare', 'counting', '1', '--sample', '10')
  expect([compared.code, compared.stdout]).toEqual([
    0,
    expect.stringContaining('3 keys computed again from history: the same'),
  ])
  expect((await local('switch', 'counting', '2', ...because)).stdout).toBe(
    'readers of projection.counting see version 2, and no longer 1\n',
  )
  expect((await local('switch', 'counting', '--back', ...because)).code).toBe(0)
  const again = await local('rebuild', 'counting', '--device', 'a', ...because)
  expect([again.code, again.stdout]).toEqual([
    0,
    'a of counting 1: 1 rows taken away, 2 events applied again\n',
  ])
  expect((await local('rebuild', 'counting', '1', ...because)).stderr).toContain('PROJECTION_ACTIVE')
  expect((await local('list')).stdout).toMatch(/counting +1 +active +live/)
  const { rows } = await served.database.pool.query<{ verb: string }>(
    'select verb from tidegate.deeds order by at',
  )
  expect(rows.map(({ verb }) => verb)).toEqual([
    'resume-projection',
    'compare-projection',
    'switch-projection',
    'switch-projection',
    'rebuild-projection-device',
  ])
}, 60_000)

test('what a handler said of an event is for those with the right to payloads', async () => {
  const asked = async (role: 'viewer' | 'analyst') =>
    (await served.get('/v1/projections', await served.tokenOf(role))).text()
  await served.database.pool.query(
    `update tidegate.projection_versions set halted_at = now(), halted_message = 'secret 4711', halted_code = 'SITE_UNKNOWN' where version = 2`,
  )
  expect(await asked('viewer')).not.toContain('secret')
  expect(await asked('analyst')).toContain('secret 4711')
})

const post = async (role: 'viewer' | 'operator', path: string, body: object, more = {}) => {
  const response = await fetch(`${served.url}/v1/projections/${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await served.tokenOf(role, more)}`,
      'idempotency-key': crypto.randomUUID(),
      'content-type': 'application/json',
    },
    body: JSON.stringify({ reason: 'x', ...body }),
  })
  return [response.status, ((await response.json()) as { code?: string }).code]
}

test('to change one takes the right to operate, a token for all types, and a version or a device', async () => {
  expect(await post('viewer', 'counting/switch', { version: 2 })).toEqual([403, 'RIGHT_MISSING'])
  expect(await post('operator', 'counting/switch', { version: 2 }, { types: ['com.acme.climate'] })).toEqual([
    403,
    'OUT_OF_SCOPE',
  ])
  expect(await post('operator', 'counting/rebuild', {})).toEqual([422, 'REQUEST_INVALID'])
  expect(await post('operator', 'other/drop', { version: 2 })).toEqual([404, 'PROJECTION_UNKNOWN'])
  expect(await post('operator', 'counting/resume', { version: 1 })).toEqual([409, 'PROJECTION_NOT_HALTED'])
})
