import { pino } from 'pino'
import { afterAll, expect, test } from 'vitest'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { postgresParking } from '../../../cloud/parking/parking-postgres.ts'
import { startWatchingUnattended } from '../../../cloud/parking/unattended-postgres.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { gate } from '../../support/cloud/test-pipeline.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { createDatabase } from '../../support/servers.ts'

const database = poolOf({ url: await createDatabase(), poolMax: 2, applicationName: 'test' })
afterAll(() => database.close())

test('what is parked of a group that no instance runs is warned of once, and counted', async () => {
  await migrated(database)
  const storage = postgresStorage(database)
  const trial = { state: 'held', attempt: 2, delayMs: 0, code: 'ODD', message: 'odd' } as const
  for (const group of ['ours', 'theirs', 'gone', 'dead'])
    await storage.transaction(
      (tx) => postgresParking(tx).park(group, 'd', trial),
      new AbortController().signal,
    )
  await database.query(`insert into tidegate.members (consumer_group, instance, seen_at, queue_generation)
    values ('theirs', 'b', clock_timestamp(), 2), ('dead', 'b', clock_timestamp() - interval '1 h', 2)`)
  const lines: { code?: string; group?: string; devices?: number }[] = []
  const clock = new FakeClock()
  const looked = [gate(), gate()]
  let looks = 0
  const watching = startWatchingUnattended({
    database: {
      async query(text, values) {
        const rows = await database.query<never>(text, values)
        looked[looks++]?.release()
        return rows
      },
    },
    groups: ['ours'],
    goneAfterMs: 15_000,
    clock,
    log: pino({ level: 'warn' }, { write: (line) => void lines.push(JSON.parse(line) as object) }),
  })
  await looked[0]?.promise
  await settled()
  await clock.advance(60_000)
  await looked[1]?.promise
  await watching.close()
  expect(watching.unattended).toEqual([
    { group: 'dead', devices: 1, events: 0 },
    { group: 'gone', devices: 1, events: 0 },
  ])
  expect(lines).toMatchObject([
    { code: 'PARKED_UNATTENDED', group: 'dead', devices: 1 },
    { code: 'PARKED_UNATTENDED', group: 'gone' },
  ])
})
