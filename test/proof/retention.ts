import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
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
import { divide, fill, type ToFill } from './ledgers.ts'

const program = join(import.meta.dirname, '../../cli/tidegate.js')

async function main(): Promise<number> {
  const options = programOf(
    'npm run prove:retention --',
    'Fills one partition of history, archives and drops it, attaches the archive, and looks how long each takes, in how much memory, and whether the audit is clean.',
  )
    .option('--events <count>', 'in the partition', wholeNumber({ max: 100_000_000 }), 1_000_000)
    .option('--gateways <count>', 'that recorded them', wholeNumber({ max: 10_000 }), 10)
    .parse()
    .opts<Omit<ToFill, 'weeks'>>()
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-retention-'))
  await chmod(folder, 0o711)
  const obtained = await obtainPostgres({ dir: join(folder, 'postgres'), env: {}, say: () => {} })
  if (obtained.how === 'given') throw new Error('this measures on a server of its own')
  try {
    const url = await obtained.server.createDatabase('retained')
    return await prove(url, { ...options, weeks: 1 }, join(folder, 'archive'))
  } finally {
    await obtained.server.close()
    await rm(folder, { recursive: true, force: true })
  }
}

async function prove(url: string, options: ToFill, folder: string): Promise<number> {
  const database = createDatabase({ url, poolMax: 1, applicationName: 'proof' })
  const { signal } = new AbortController()
  await migrateDatabase(database, migrations, { log: silentLog, signal })
  await database.close()
  const client = new Client(url)
  await client.connect()
  await client.query('set synchronous_commit = off')
  await divide(client, 1)
  await fill(client, options)
  await client.end()
  await mkdir(folder, { mode: 0o700 })
  const steps = [
    await run(url, 'audit'),
    await run(url, 'history', 'partitions'),
    await run(url, ...archive, '--partition', 'events_20260105', '--to', folder),
    await run(url, 'audit'),
  ]
  const [file = ''] = (await readdir(folder)).filter((name) => name.endsWith('.gz'))
  console.log(`${((await stat(join(folder, file))).size / 1e6).toFixed(1)} MB in ${file}`)
  steps.push(
    await run(url, 'history', 'attach', join(folder, file), '--reason', 'proof'),
    await run(url, 'audit'),
  )
  return steps.every((code) => code === 0) ? 0 : 1
}

const archive = ['history', 'archive', '--drop', '--reason', 'proof']

/** Says how long it took, and the most memory that it had at once. */
async function run(url: string, ...args: string[]): Promise<number> {
  const beganMs = performance.now()
  const child = spawn(process.execPath, [program, ...args], {
    env: { ...process.env, TIDEGATE_CLOUD__DATABASE__URL: url },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const exited = once(child, 'exit') as Promise<[number]>
  let mostKb = 0
  const looking = setInterval(() => {
    void readFile(`/proc/${child.pid}/status`, 'utf8').then(
      (status) => (mostKb = Math.max(mostKb, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0))),
      () => {},
    )
  }, 50)
  const [said, [code]] = await Promise.all([text(child.stderr), exited])
  clearInterval(looking)
  const took = ((performance.now() - beganMs) / 1000).toFixed(1)
  const memory = (mostKb / 1024).toFixed(0)
  console.log(
    `${code === 0 ? 'ok   ' : 'WRONG'} ${took.padStart(7)} s ${memory.padStart(5)} MiB  tidegate ${args.slice(0, 2).join(' ')}`,
  )
  if (code !== 0) console.log(said)
  return code
}

main().then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    console.error(messageOf(error))
    process.exitCode = 2
  },
)
