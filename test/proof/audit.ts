import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { Client } from 'pg'
import { createDatabase } from '../../cloud/database/database-postgres.ts'
import { migrateDatabase } from '../../cloud/database/migrate-postgres.ts'
import { migrations } from '../../cloud/database/migrations/all.ts'
import { obtainPostgres } from '../../dev/servers/obtain.ts'
import { messageOf } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { programOf, wholeNumber } from '../../src/settings/command-line.ts'
import { add, divide, fill, type ToFill } from './ledgers.ts'

const program = join(import.meta.dirname, '../../cli/tidegate.js')

async function main(): Promise<number> {
  const options = programOf(
    'npm run prove:audit --',
    'Fills a history with signed ledgers, times the audit of the whole and from marks, and looks whether each finds what it must.',
  )
    .option('--events <count>', 'in history', wholeNumber({ max: 100_000_000 }), 3_000_000)
    .option('--gateways <count>', 'that recorded them', wholeNumber({ max: 10_000 }), 10)
    .option('--weeks <count>', 'partitions they lie in', wholeNumber({ max: 200 }), 40)
    .parse()
    .opts<ToFill>()
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-audit-'))
  await chmod(folder, 0o711)
  const obtained = await obtainPostgres({ dir: join(folder, 'postgres'), env: {}, say: () => {} })
  if (obtained.how === 'given') throw new Error('this measures on a server of its own')
  try {
    const url = await obtained.server.createDatabase('audited')
    return await prove(url, options, folder)
  } finally {
    await obtained.server.close()
    await rm(folder, { recursive: true, force: true })
  }
}

async function prove(url: string, options: ToFill, folder: string): Promise<number> {
  const database = createDatabase({ url, poolMax: 1, applicationName: 'proof' })
  await migrateDatabase(database, migrations, {
    log: silentLog,
    signal: new AbortController().signal,
  })
  await database.close()
  const client = new Client(url)
  await client.connect()
  await client.query('set synchronous_commit = off')
  await divide(client, options.weeks)
  const ledgers = await fill(client, options)
  await client.query('vacuum analyze tidegate.events')

  const marks = join(folder, 'marks.json')
  const key = join(folder, 'audit.key')
  await audit(url, 'key', key)
  let wrong = 0
  const startedMs = performance.now()
  await audit(url, '--help')
  console.log(
    `${((performance.now() - startedMs) / 1000).toFixed(2).padStart(14)} s  of each for starting Node.js`,
  )
  const expect = async (what: string, code: number, ...args: string[]): Promise<void> => {
    const beganMs = performance.now()
    const outcome = await audit(url, ...args)
    const took = ((performance.now() - beganMs) / 1000).toFixed(2)
    const isRight = outcome.code === code
    if (!isRight) wrong += 1
    console.log(`${isRight ? 'ok   ' : 'WRONG'} ${took.padStart(8)} s  exit ${outcome.code}  ${what}`)
    if (!isRight) console.log(outcome.stdout, outcome.stderr)
  }
  const marked = ['--marks', marks, '--key', key]
  await expect('all of it, and marks are made', 0, ...marked, '--full')
  for (let at = 0; at < 3; at += 1) await expect('from the marks, nothing is new', 0, ...marked)
  await add(client, ledgers, 1000)
  await expect('from the marks, 1,000 events are new', 0, ...marked)
  await expect('only identities', 0, '--duplicates')
  await add(client, ledgers, 1000)
  const last = Math.floor(options.events / options.gateways)
  const behind = `update tidegate.events set body = replace(body::text, '"temperature":', '"temperature":1')::json where gateway = 'gateway-1' and sequence = `
  await client.query('set session_replication_role = replica')
  const newest = ledgers[1]?.sequence ?? 0
  await client.query(`${behind}${newest - 5}`)
  await expect('one that was altered behind the marks', 1, '--marks', marks, '--key', `${key}.pub`)
  await client.query(`update tidegate.events set body = replace(body::text, '"temperature":1', '"temperature":')::json
    where gateway = 'gateway-1' and sequence = ${newest - 5}`)
  await expect('as it was', 0, ...marked)
  await client.query(`${behind}${Math.floor(last / 2) + 3}`)
  await expect('one that was altered in front of the marks, from the marks', 0, ...marked)
  await expect('the same, all of it', 1, ...marked, '--full')
  await client.end()
  return wrong === 0 ? 0 : 1
}

async function audit(
  url: string,
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [program, 'audit', ...args], {
    env: { ...process.env, TIDEGATE_CLOUD__DATABASE__URL: url },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit') as Promise<[number]>,
  ])
  return { code, stdout, stderr }
}

main().then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    console.error(messageOf(error))
    process.exitCode = 2
  },
)
