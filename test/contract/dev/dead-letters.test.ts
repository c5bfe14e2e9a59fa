import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { lookIntoLetters } from '../../../dev/evidence/search-letters.ts'
import { troubleId } from '../../../dev/fleet/sensors.ts'
import { demoGroup } from '../../../dev/stack/config.ts'
import type { HistoryReader } from '../../../dev/watch/history.ts'
import { connectHistory } from '../../../dev/watch/history-postgres.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { createDatabase } from '../../support/servers.ts'

const letterSql = `
insert into tidegate.dead_letters (consumer_group, key, source, id, device, body, properties, headers, routing_key, queue, fingerprint, code,
  message, attempts, failures, instance, first_failed_at, last_failed_at, state, closed_at)
values ($1, sha256($3::text::bytea), '/devices/' || $2, $3, $2, '{}', '{}', '{}', 'r', 'q', 'f', 'ODD', 'odd', 1, '[]', 'i', now(), now(), $4,
  case when $4 in ('resolved', 'discarded') then now() end)`

let database: Database
let history: HistoryReader
beforeAll(async () => {
  const url = await createDatabase()
  database = poolOf({ url, poolMax: 1, applicationName: 'test' })
  await migrated(database)
  history = connectHistory(url)
})
afterAll(async () => {
  await history.close()
  await database.close()
})

test('a missing event is found among the dead letters, whatever has become of its letter, and what is meant to be there is not counted', async () => {
  expect(await history.letterToShow()).toBeUndefined()
  for (const [group, device, id, state] of [
    ['history', 'sensor-1', 'a', 'open'],
    ['rollups', 'sensor-1', 'b', 'discarded'],
    [demoGroup, troubleId('fahrenheit'), 'c', 'resolved'],
    [demoGroup, troubleId('fahrenheit'), 'd', 'open'],
    [demoGroup, troubleId('fahrenheit'), 'e', 'open'],
  ])
    await database.query(letterSql, [group, device, id, state])
  expect(await history.letterToShow()).toBe(4)
  expect(await history.deadLetters()).toBe(1)

  const seen: unknown[] = []
  const sought = ['a', 'b', 'z'].map((id) => ({ source: '/devices/sensor-1', id }))
  const looked = await lookIntoLetters(sought, history, ({ id }, sighting) => seen.push([id, sighting]))
  expect(looked).toMatchObject([{ holds: 2, looked: 2 }])
  expect(seen).toEqual([
    ['a', { kind: 'letter', letter: 1, group: 'history', state: 'open' }],
    ['b', { kind: 'letter', letter: 2, group: 'rollups', state: 'discarded' }],
  ])
})
