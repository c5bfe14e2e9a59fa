import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { pageSql, readFiltered } from '../../../cloud/history/filtered-postgres.ts'
import { readSql } from '../../../cloud/history/reader-postgres.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { explained } from '../../support/cloud/history-explained.ts'
import { allReadable, fillWeeks } from '../../support/cloud/history-filled.ts'
import { createDatabase } from '../../support/servers.ts'

const events = 100_000
const weeks = 57
let database: Database
beforeAll(async () => {
  database = poolOf({ url: await createDatabase(), poolMax: 2, applicationName: 'test' })
  await migrated(database)
  await fillWeeks(database, { events, weeks })
  await allReadable(database)
})
afterAll(() => database.close())

/** Of the function itself, whose own statements do not show: three pages of each partition's index, and the events. */
const pagesOfPage = async (after: string, types: string): Promise<number> =>
  (await explained(database, `select * from tidegate.read_events(${after}, ${types}, 1000)`)).pages

describe('what a page of history costs', () => {
  test('three pages of each of 60 partitions and the events themselves, wherever it is, of all types and of one', async () => {
    const partitions = await database.query('select from tidegate.partitions')
    expect(partitions.length).toBeGreaterThanOrEqual(60)
    const middle = `(select era || '.' || tx || '.' || position from tidegate.events where position = ${events / 2})`
    const cold = 3 * partitions.length + 10
    for (const after of [`''`, middle]) {
      // A thousand events of 700 bytes lie on some 110 pages.
      expect(await pagesOfPage(after, 'null')).toBeLessThan(cold + 250)
      // Of those every third is of the type.
      expect(await pagesOfPage(after, `'{com.acme.power}'`)).toBeLessThan(cold + 700)
    }
    // Whoever has read all, and asks ten times a second: where the end is costs two more of each partition.
    const ended = cold + 2 * partitions.length
    expect(await pagesOfPage('tidegate.horizon()', 'null')).toBeLessThan(ended)
    expect(await pagesOfPage('tidegate.horizon()', `'{com.acme.power}'`)).toBeLessThan(ended)
  })

  test.each([
    ['over HTTP', pageSql, ['', null, 1000, null, null, null, 1000, null]],
    ['of a projection', readSql, ['', null, 1000, null]],
  ])('a page %s costs what it costs in SQL, and the horizon once', async (_, sql, values) => {
    const partitions = await database.query('select from tidegate.partitions')
    const { pages } = await explained(database, sql, values)
    expect(pages).toBeLessThan((await pagesOfPage(`''`, 'null')) + 3 * partitions.length + 10)
  })

  test('what is beyond the horizon is not read, however much it is', async () => {
    const holding = await database.connect()
    try {
      await holding.query('begin')
      await holding.query('select pg_current_xact_id()')
      const [{ horizon } = { horizon: '' }] = await database.query<{ horizon: string }>(
        'select tidegate.horizon() as horizon',
      )
      await fillWeeks(database, { events: 20_000, weeks: 0, from: events })
      expect(await database.query('select from tidegate.read_events($1)', [horizon])).toHaveLength(0)
      expect(await pagesOfPage(`'${horizon}'`, 'null')).toBeLessThan(300)
      await holding.query('rollback')
      await allReadable(database)
      expect(await database.query('select from tidegate.read_events($1)', [horizon])).toHaveLength(1000)
    } finally {
      holding.release()
    }
  })

  test('a filter that nothing is of looks at 20000 events, and goes on from there', async () => {
    const query = database.query.bind(database)
    const page = await readFiltered(query, '', { source: '/devices/nobody' }, 100)
    expect(page).toMatchObject({ events: [], more: true })
    const [row] = await database.query<{ passed: number }>(
      `select count(*)::int as passed from tidegate.events
       where (era, tx, position) <= (split_part($1, '.', 1)::integer, split_part($1, '.', 2)::xid8, split_part($1, '.', 3)::bigint)`,
      [page.next],
    )
    expect(row).toEqual({ passed: 20_000 })
  })
})
