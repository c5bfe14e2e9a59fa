import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDatabase } from '../../cloud/database/database-postgres.ts'
import { migrateDatabase } from '../../cloud/database/migrate-postgres.ts'
import { migrations } from '../../cloud/database/migrations/all.ts'
import { obtainPostgres } from '../../dev/servers/obtain.ts'
import { silentLog } from '../../src/log.ts'
import { programOf, wholeNumber } from '../../src/settings/command-line.ts'
import { type Answered, answer, documentedQuestions, seedHistory } from '../support/cloud/seeded-history.ts'

/** How many pages each question of docs/DATABASE.md touches when history has grown tenfold, over ten times as many weeks. */
const { few, many } = programOf(
  'node dist/test/proof/questions.js',
  'Asks the questions of docs/DATABASE.md of two histories in databases of their own, and tells the pages that PostgreSQL touches.',
)
  .option('--few <count>', 'events of the one', wholeNumber(), 300_000)
  .option('--many <count>', 'events of the other', wholeNumber(), 3_000_000)
  .parse()
  .opts<{ few: number; many: number }>()

const say = (text: string): void => void process.stdout.write(`${text}\n`)

async function ask(url: string, events: number): Promise<Answered[]> {
  const database = createDatabase({ url, poolMax: 2, applicationName: 'proof' })
  try {
    await migrateDatabase(database, migrations, {
      signal: new AbortController().signal,
      log: silentLog,
    })
    const startedMs = performance.now()
    await seedHistory(database, events)
    const seconds = (performance.now() - startedMs) / 1000
    say(`${events} events, ${Math.round(events / seconds)} a second, as they were made by a statement`)
    const answers: Answered[] = []
    for (const { sql } of documentedQuestions()) answers.push(await answer(database, sql))
    return answers
  } finally {
    await database.close()
  }
}

async function main(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-questions-'))
  // PostgreSQL does not run as root: its user must be able to reach its data.
  chmodSync(dir, 0o711)
  const obtained = await obtainPostgres({ dir, env: process.env, say })
  const url = obtained.how === 'given' ? obtained.url : obtained.server.url
  try {
    const one = await ask(await another(url, 'few'), few)
    const other = await ask(await another(url, 'many'), many)
    for (const [index, { asked }] of documentedQuestions().entries()) {
      const before = one[index] as Answered
      const then = other[index] as Answered
      const whole = then.readWhole.length === 0 ? '' : `; READ WHOLE: ${then.readWhole.join(', ')}`
      say(`${before.pages} → ${then.pages} pages, ${then.ms.toFixed(1)} ms: ${asked}${whole}`)
    }
  } finally {
    if (obtained.how !== 'given') await obtained.server.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

async function another(url: string, name: string): Promise<string> {
  const database = createDatabase({ url, poolMax: 1, applicationName: 'proof' })
  const fresh = `questions_${name}_${process.pid}`
  await database.query(`create database ${fresh}`)
  await database.close()
  const made = new URL(url)
  made.pathname = `/${fresh}`
  return made.href
}

await main()
