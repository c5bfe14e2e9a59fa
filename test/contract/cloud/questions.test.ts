import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { answer, documentedQuestions, seedHistory } from '../../support/cloud/seeded-history.ts'
import { createDatabase } from '../../support/servers.ts'

const questions = documentedQuestions()

let database: Database
beforeAll(async () => {
  database = poolOf({ url: await createDatabase(), poolMax: 2, applicationName: 'test' })
  await migrated(database)
  await seedHistory(database, 150_000)
}, 120_000)
afterAll(() => database.close())

describe('the questions of docs/DATABASE.md', () => {
  test('are those that are asked here', () => {
    expect(questions.length).toBeGreaterThanOrEqual(13)
  })

  test.each(questions)('$asked: has an answer, and no week is read whole for it', async ({ asked, sql }) => {
    const pagesMax = Number(/at most ([\d,]+) pages/.exec(asked)?.[1]?.replaceAll(',', ''))
    const { rows, pages, readWhole } = await answer(database, sql)
    expect(readWhole).toEqual([])
    expect(rows).toBeGreaterThan(0)
    expect(pages).toBeLessThanOrEqual(pagesMax)
  })
})
