import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { createDatabase as poolOf } from '../../../cloud/database/database-postgres.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import { isCrowded } from '../../../cloud/parking/crowded-postgres.ts'
import { postgresParking } from '../../../cloud/parking/parking-postgres.ts'
import { createReadyDatabase } from '../../support/servers.ts'

const bounds = { devicesMax: 100, eventsMax: 20, eventsMaxPerDevice: 10 }

test('a group is crowded when half of what may wait does, of one device or of all, and of it alone (G6, G7)', async () => {
  const database = poolOf({ url: await createReadyDatabase(), poolMax: 1, applicationName: 'test' })
  const storage = postgresStorage(database)
  const { signal } = new AbortController()
  const park = (group: string, device: string, count: number): Promise<void> =>
    storage.transaction(async (tx) => {
      const parking = postgresParking(tx)
      await parking.park(group, device, {
        state: 'retrying',
        attempt: 2,
        delayMs: 0,
        code: 'SENSOR_ODD',
        message: 'it is odd',
      })
      const events = Array.from({ length: count }, (_, index) => ({
        device,
        key: createHash('sha256').update(`${group} ${device} ${index}`).digest(),
        body: Buffer.from('{}'),
        properties: {},
        headers: {},
        routingKey: '00.com.acme',
        queue: 'g.00.v2',
        publisher: undefined,
        arrivedAtMs: 0,
      }))
      await parking.add(group, events)
    }, signal)
  const crowded = (group: string): Promise<boolean> => isCrowded(database, group, bounds)
  try {
    expect(await crowded('one')).toBe(false)
    await park('one', 'a', 4)
    await park('one', 'b', 4)
    await park('other', 'a', 4)
    expect([await crowded('one'), await crowded('other')]).toEqual([false, false])
    await park('one', 'c', 2)
    expect([await crowded('one'), await crowded('other')]).toEqual([true, false])
    await park('other', 'd', 5)
    expect(await crowded('other')).toBe(true)
  } finally {
    await database.close()
  }
})
