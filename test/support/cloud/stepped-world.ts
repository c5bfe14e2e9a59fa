import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, createClient } from '../../../cloud/tool/client.ts'
import { cloudLedger, deedType, type Event } from '../../../src/contract/event.ts'
import { formerDeadQueue, headers as names } from '../../../src/contract/wire.ts'
import { type CloudBench, openCloudBench } from './cloud.ts'
import { type Encoded, Ledger } from './cloud-events.ts'
import { type SteppedCloud, startSteppedCloud } from './cloud-program.ts'
import { connectTo } from './test-amqp.ts'

/** Fails as often as the event says, and for good while there is a row for its device; then it leaves one row for each time it ran, elsewhere if a generation had it run. */
const consumerOf = (says: string): string => `
export default {
  ${says},
  async handle(event, { tx, attempt, replay }) {
    const broken = await tx.query('select from public.broken where device = $1', [event.partitionkey])
    if (broken.rowCount > 0) throw Object.assign(new Error('site unknown'), { code: 'SITE_UNKNOWN', retryable: false })
    if (attempt <= (event.data.failUntil ?? 0)) throw new Error('the sensor is odd')
    const table = replay?.generation === undefined ? 'effects' : 'again'
    await tx.query('insert into public.' + table + ' (id) values ($1)', [event.id])
  },
}`

/** What fails goes onto a rung; of another kind of events it holds its device up, and waits for a person in the end. */
const consumers = [
  consumerOf("group: 'effects', types: ['com.acme.#'], onFailure: 'overtake'"),
  consumerOf("group: 'ordered', types: ['com.ordered.#'], then: 'hold', retry: ['100ms', '100ms']"),
]

const tablesSql = `
create table public.broken (device text primary key);
create table public.effects (n bigint generated always as identity, id text);
create table public.again (n bigint generated always as identity, id text);
grant select, insert on public.broken, public.effects, public.again to public`

/** One cloud at a time, with an API on its socket, of which each is killed; and what a test does around them. */
export interface SteppedWorld {
  readonly bench: CloudBench
  readonly ledger: Ledger
  readonly client: Client
  /** With the name of an instance that was killed: it goes on in its place. */
  startCloud(): Promise<SteppedCloud>
  /** Makes a device fail for good, or no more. */
  setBroken(device: string, broken: boolean): Promise<unknown>
  /** Letters as a former version wrote them, into its queue. */
  writeFormerLetters(events: readonly Encoded[]): Promise<void>
  /** What an instance that died had in hand is anybody's: as after a minute. */
  letLeasesEnd(): Promise<void>
  /** Devices whose events wait behind one that fails. */
  parked(): Promise<{ device: string; state: string }[]>
  /** Of these events: how many effects, and which letters, there are. */
  standing(events: readonly Pick<Event, 'id'>[]): Promise<Standing[]>
  books(): Promise<Books>
  close(): Promise<void>
}

export interface Standing {
  id: string
  effects: number
  /** States of its letters. */
  letters: string[]
}

/** Of everything that has happened. */
export interface Books {
  /** IDs with two effects, with two letters, or with an effect and an open letter. */
  twice: string[]
  /** IDs of stored events that have neither an effect nor a letter. */
  missing: string[]
  /** Open letters that their causes do not count, or count too often. */
  openLetters: number
  deeds: number
  /** Events of the cloud's own ledger that tell of one. */
  deedsTold: number
  /** Events of the gateway that history has. */
  stored: number
}

const booksSql = `
with done as (select id, count(*) as times from public.effects group by id),
letters as (select id, count(*) as times, bool_or(state <> 'resolved') as open from tidegate.dead_letters group by id)
select
  array(select coalesce(d.id, l.id) from done as d full join letters as l using (id)
        where d.times > 1 or l.times > 1 or (d.times = 1 and l.open)) as twice,
  array(select e.id from tidegate.events as e where e.disposition = 'accepted' and e.type like 'com.%'
        and not exists (select from done as d where d.id = e.id) and not exists (select from letters as l where l.id = e.id)) as missing,
  (select (select coalesce(sum(open), 0) from tidegate.failure_groups) + (select coalesce(sum(open), 0) from tidegate.failure_counts)
        - (select count(*) from tidegate.dead_letters where state in ('open', 'replaying')))::int as "openLetters",
  (select count(*)::int from tidegate.deeds) as deeds,
  (select count(*)::int from tidegate.events where gateway = '${cloudLedger}' and type = '${deedType}') as "deedsTold",
  (select count(*)::int from tidegate.events where gateway = 'gateway-1') as stored`

const standingSql = `
select asked.id,
       (select count(*)::int from public.effects as e where e.id = asked.id) as effects,
       array(select state from tidegate.dead_letters as d where d.id = asked.id order by letter) as letters
from unnest($1::text[]) with ordinality as asked (id, n) order by n`

export async function openSteppedWorld(): Promise<SteppedWorld> {
  const bench = await openCloudBench()
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-steps-'))
  const socket = join(folder, 'api.sock')
  await bench.rows(tablesSql)
  await bench.declareExchange()
  const broker = await connectTo(bench.url)
  const formerQueue = formerDeadQueue('effects')
  const given = {
    'x-queue-type': 'quorum',
    'x-overflow': 'reject-publish',
    'x-max-length': 1_000_000,
  } as const
  await broker.client.queueDeclare({ queue: formerQueue, durable: true, arguments: { ...given } })
  const publisher = broker.client.createPublisher({ confirm: true })
  const config = bench.config({
    consumers: ['history', ...consumers.map((text) => ({ module: bench.module(text) }))],
    instance: `steps-${randomUUID().slice(0, 8)}`,
    retry: { ladder: ['100ms'] },
    api: { socket, requestsPerSecond: 1000 },
  })
  let last: SteppedCloud | undefined
  return {
    bench,
    ledger: new Ledger(),
    client: createClient({ kind: 'socket', path: socket, headers: {} }),
    async startCloud() {
      last = startSteppedCloud(config)
      await last.started
      return last
    },
    setBroken: (device, broken) =>
      bench.rows(
        broken
          ? 'insert into public.broken values ($1) on conflict do nothing'
          : 'delete from public.broken where device = $1',
        [device],
      ),
    async writeFormerLetters(events) {
      const headers = { [names.errorCode]: 'ODD', [names.errorMessage]: 'odd', [names.attempt]: 3 }
      for (const { text } of events)
        await publisher.send({ routingKey: formerQueue, durable: true, headers }, Buffer.from(text))
    },
    async letLeasesEnd() {
      for (const table of ['replays', 'parked_devices'])
        await bench.rows(
          `update tidegate.${table} set claimed_until = clock_timestamp() where claim is not null`,
        )
    },
    async books() {
      const [books] = await bench.rows<Books>(booksSql)
      return books as Books
    },
    parked: () => bench.rows('select device, state from tidegate.parked_devices'),
    standing: (events) => bench.rows<Standing>(standingSql, [events.map(({ id }) => id)]),
    async close() {
      await last?.kill()
      await publisher.close()
      await broker.close()
      await bench.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
