import { expect, test, vi } from 'vitest'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { startPublishing } from '../../../cloud/deeds/publishing.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'
import { databaseWith } from '../../support/cloud/audited-database.ts'
import { epoch, Ledger } from '../../support/cloud/cloud-events.ts'

test('of several instances one publishes each admitted reading, and one that fails leaves it to be tried again (G5)', async () => {
  const ledger = new Ledger('tidegate-cloud')
  const events = Array.from({ length: 6 }, (_, index) => ledger.next(`device-${index}`))
  const database = poolOf({ url: await databaseWith(events), poolMax: 6, applicationName: 'test' })
  await database.query(
    'insert into tidegate.unpublished (epoch, sequence) select $1, n from generate_series(1, 6) as n',
    [epoch],
  )
  const sent: string[] = []
  let refusals = 1
  const outbound = {
    async send(_: unknown, { body }: { body: Buffer }) {
      // As long as a broker takes: whoever looks meanwhile must not see it.
      await systemClock.sleep(50)
      if (refusals-- > 0) throw new Error('the broker takes nothing')
      sent.push((JSON.parse(body.toString()) as { id: string }).id)
    },
  }
  const parts = {
    storage: postgresStorage(database),
    outbound,
    partitions: 4,
    clock: systemClock,
    log: silentLog,
  }
  const instances = [1, 2, 3].map(() => startPublishing({ ...parts, lookEveryMs: 20 }))
  await vi.waitFor(async () => expect(await database.query('select from tidegate.unpublished')).toEqual([]), {
    timeout: 15_000,
    interval: 50,
  })
  await Promise.all(instances.map((instance) => instance.close()))
  expect(sent.toSorted()).toEqual(['id-1', 'id-2', 'id-3', 'id-4', 'id-5', 'id-6'])
  await database.close()
})
