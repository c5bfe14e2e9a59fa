import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readWhere } from '../../cloud/api/reads/where-is-postgres.ts'
import { eventsSql, gatewaysSql, groupsSql } from '../../cloud/api/reads/where-is-sql.ts'
import { createDatabase, type Database } from '../../cloud/database/database-postgres.ts'
import { migrateDatabase } from '../../cloud/database/migrate-postgres.ts'
import { migrations } from '../../cloud/database/migrations/all.ts'
import { readFiltered } from '../../cloud/history/filtered-postgres.ts'
import { obtainPostgres } from '../../dev/servers/obtain.ts'
import { silentLog } from '../../src/log.ts'
import { programOf, wholeNumber } from '../../src/settings/command-line.ts'
import { explained } from '../support/cloud/history-explained.ts'
import { seedHistory } from '../support/cloud/seeded-history.ts'

/** How long `where` and a page of history take when there is much of it: as the API asks, and the pages of each statement. */
const { events, rounds } = programOf(
  'node dist/test/proof/where.js',
  'Asks a history in a database of its own where an event is, found and not, and reads pages of it.',
)
  .option('--events <count>', 'events', wholeNumber(), 3_000_000)
  .option('--rounds <count>', 'how often each is timed', wholeNumber({ max: 1000 }), 20)
  .parse()
  .opts<{ events: number; rounds: number }>()

const say = (text: string): void => void process.stdout.write(`${text}\n`)

async function timed(what: string, work: (round: number) => Promise<unknown>): Promise<void> {
  const took: number[] = []
  for (let round = 0; round < rounds; round++) {
    const fromMs = performance.now()
    await work(round)
    took.push(performance.now() - fromMs)
  }
  took.sort((one, other) => one - other)
  const at = (share: number): string => (took[Math.floor((took.length - 1) * share)] ?? 0).toFixed(1)
  say(`${what}: ${at(0.5)} ms in the middle, ${at(1)} ms at most`)
}

async function measure(database: Database): Promise<void> {
  const query = database.query.bind(database)
  const md5 = async (n: number): Promise<string> => {
    const [row] = await database.query<{ id: string }>('select md5($1::text) as id', [String(n)])
    return row?.id ?? ''
  }
  const ids = await Promise.all(Array.from({ length: rounds }, (_, round) => md5(1 + round * 99_991)))
  const idOf = (round: number): string => ids[round % ids.length] ?? ''
  const first = idOf(1)
  for (const [name, sql, values] of [
    ['events', eventsSql, [first, null, null, 21]],
    ['groups', groupsSql, [first, null, null]],
    ['gateways', gatewaysSql, []],
  ] as const)
    say(`${name}: ${(await explained(database, sql, values)).pages} pages`)
  await timed('where, found', (round) => readWhere(query, { id: idOf(round) }, {}))
  await timed('where, not found', (round) => readWhere(query, { id: `nobody-${round}` }, {}))
  let cursor = ''
  await timed('a page of 1000', async () => {
    cursor = (await readFiltered(query, cursor, {}, 1000)).next
  })
  await timed('a page at the end', async () => readFiltered(query, await horizon(database), {}, 1000))
}

async function horizon(database: Database): Promise<string> {
  const [row] = await database.query<{ horizon: string }>('select tidegate.horizon() as horizon')
  return row?.horizon ?? ''
}

async function main(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-where-'))
  // PostgreSQL does not run as root: its user must be able to reach its data.
  chmodSync(dir, 0o711)
  const obtained = await obtainPostgres({ dir, env: { ...process.env, TIDEGATE_PG_URL: '' }, say })
  if (obtained.how === 'given') throw new Error('a server that was given is not used here')
  const database = createDatabase({ url: obtained.server.url, poolMax: 4, applicationName: 'proof' })
  try {
    await migrateDatabase(database, migrations, { signal: new AbortController().signal, log: silentLog })
    await seedHistory(database, events)
    const partitions = await database.query('select from tidegate.partitions')
    say(`${events} events in ${partitions.length} partitions`)
    await measure(database)
  } finally {
    await database.close()
    await obtained.server.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

await main()
