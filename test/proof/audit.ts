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
import { checkpointType } from '../../src/contract/checkpoint.ts'
import { messageOf } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { programOf, wholeNumber } from '../../src/settings/command-line.ts'
import { type Encoded, Ledger } from '../support/cloud/cloud-events.ts'
import { testSigner } from '../support/fakes/signer.ts'

interface Options {
  events: number
  gateways: number
  weeks: number
}

const program = join(import.meta.dirname, '../../cli/tidegate.js')
const signer = testSigner(1)
const signsEvery = 10_000
const firstMs = Date.parse('2026-01-05T00:00:00.000Z')
const weekMs = 7 * 86_400_000

async function main(): Promise<number> {
  const options = programOf(
    'npm run prove:audit --',
    'Fills a history with signed ledgers, times the audit of the whole and from marks, and looks whether each finds what it must.',
  )
    .option('--events <count>', 'in history', wholeNumber({ max: 100_000_000 }), 3_000_000)
    .option('--gateways <count>', 'that recorded them', wholeNumber({ max: 10_000 }), 10)
    .option('--weeks <count>', 'partitions they lie in', wholeNumber({ max: 200 }), 40)
    .parse()
    .opts<Options>()
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

async function prove(url: string, options: Options, folder: string): Promise<number> {
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

const at = (week: number): string => new Date(firstMs + week * weekMs).toISOString()

/** Weeks that are past are made for those who have waited for them; a proof has not. */
async function divide(client: Client, weeks: number): Promise<void> {
  const { rows } = await client.query<{ until: string }>(
    `select until_time::text as until from tidegate.partitions where partition = 'events_before'`,
  )
  await client.query('alter table tidegate.events detach partition tidegate.events_before')
  await client.query(
    `alter table tidegate.events attach partition tidegate.events_before for values from (minvalue) to ('${at(0)}')`,
  )
  for (let week = 0; week < weeks; week += 1) {
    if (Date.parse(at(week + 1)) > Date.parse(rows[0]?.until ?? ''))
      throw new Error(`${weeks} weeks are not past yet`)
    const name = `events_${at(week).slice(0, 10).replaceAll('-', '')}`
    await client.query(`select tidegate.make_partition('${name}')`)
    await client.query(
      `alter table tidegate.events attach partition tidegate.${name} for values from ('${at(week)}') to ('${at(week + 1)}')`,
    )
  }
}

async function fill(client: Client, { events, gateways, weeks }: Options): Promise<Ledger[]> {
  const ledgers: Ledger[] = []
  for (let at = 0; at < gateways; at += 1) {
    const epoch = `01JGFJJZ${String(at).padStart(18, '0')}`
    ledgers.push(new Ledger(`gateway-${at}`, epoch))
    await client.query('insert into tidegate.gateways (name) values ($1)', [`gateway-${at}`])
    const pem = signer.publicKey.export({ type: 'spki', format: 'pem' })
    await client.query(
      `insert into tidegate.gateway_keys (gateway, fingerprint, public_key, since) values ($1, $2, $3, '2026-01-01')`,
      [`gateway-${at}`, signer.key, pem],
    )
  }
  const each = Math.floor(events / gateways)
  const stepMs = Math.floor((weeks * weekMs) / (each + 1))
  const beganMs = performance.now()
  // Round by round, as if all recorded at once.
  for (let done = 0; done < each; done += 1000) {
    for (const ledger of ledgers)
      await store(client, await record(ledger, Math.min(1000, each - done), stepMs))
    if (done % 100_000 === 0) console.error(`${(done * gateways).toLocaleString('en')} events`)
  }
  console.log(
    `${events.toLocaleString('en')} events of ${gateways} gateways in ${weeks} weeks, stored in ${((performance.now() - beganMs) / 1000).toFixed(0)} s`,
  )
  return ledgers
}

async function add(client: Client, ledgers: readonly Ledger[], count: number): Promise<void> {
  for (const ledger of ledgers) await store(client, await record(ledger, count / ledgers.length, 0))
}

/** The next events of a ledger, signed when it is time. */
async function record(ledger: Ledger, count: number, stepMs: number): Promise<Encoded[]> {
  const made: Encoded[] = []
  for (let at = 0; at < count; at += 1) {
    const time = new Date(firstMs + ledger.sequence * stepMs).toISOString()
    const times = { time, recordedtime: time }
    const before = made.at(-1)?.event
    if (before !== undefined && (ledger.sequence % signsEvery === 1 || at === count - 1)) {
      const { epoch, sequence, chain } = before
      const head = { epoch, sequence, chain, time, everyEvents: signsEvery }
      const signature = await signer.sign(ledger.gateway, head)
      const data = { ...head, key: signer.key, algorithm: signer.algorithm, signature }
      made.push(
        ledger.next(ledger.gateway, {
          ...times,
          type: checkpointType,
          data,
          id: `${ledger.gateway}-${ledger.sequence}`,
        }),
      )
    } else
      made.push(
        ledger.next(`device-${ledger.sequence % 50}`, {
          ...times,
          id: `${ledger.gateway}-${ledger.sequence}`,
        }),
      )
  }
  return made
}

async function store(client: Client, events: readonly Encoded[]): Promise<void> {
  await client.query(
    `insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, body)
     select gateway, epoch, sequence, source, id, type, time, recorded, 'accepted', body::json
     from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[], $9::text[])
       as e (gateway, epoch, sequence, source, id, type, time, recorded, body)`,
    [
      events.map(({ event }) => event.gateway),
      events.map(({ event }) => event.epoch),
      events.map(({ event }) => event.sequence),
      events.map(({ event }) => event.source),
      events.map(({ event }) => event.id),
      events.map(({ event }) => event.type),
      events.map(({ event }) => event.time),
      events.map(({ event }) => event.recordedtime),
      events.map(({ text: body }) => body),
    ],
  )
}

main().then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    console.error(messageOf(error))
    process.exitCode = 2
  },
)
