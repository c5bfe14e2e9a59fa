import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Transaction } from '../../../cloud/database/storage.ts'
import { dropVersion, rebuildVersion, switchVersion } from '../../../cloud/projections/deeds-postgres.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { counting } from '../../support/cloud/counting.ts'
import { openProjectionBench, type ProjectionBench } from '../../support/cloud/projection-bench.ts'
import { programFile } from '../../support/program.ts'

let bench: ProjectionBench

beforeEach(async () => {
  bench = await openProjectionBench()
})
afterEach(() => bench.close())

function child(dieAt: number, name: string) {
  const args = [programFile('projections'), bench.urlOf('writer'), String(dieAt), name]
  const process_ = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = once(process_, 'exit')
  return {
    ended,
    async kill() {
      process_.kill('SIGKILL')
      await ended
    },
  }
}

/** Of each device, the events in the order in which they were applied: each once, as far as it has come. */
async function applied(): Promise<number[]> {
  const [{ there } = { there: false }] = await bench.rows<{ there: boolean }>(
    `select to_regclass('projection.counting') is not null as there`,
  )
  if (!there) return []
  const rows = await bench.rows<{ sequences: string[] }>('select sequences from projection.counting')
  return rows.flatMap(({ sequences }) => sequences.map(Number))
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

test('a projection that is killed ten times and more, at any statement, has each event once (G4)', async () => {
  const ledger = new Ledger()
  const count = 60
  await bench.store(upTo(count).map(() => ledger.next('a')))
  const reached: number[] = []
  // At another statement each time: amid the tables at first, then amid one batch or another.
  for (const dieAt of [2, 5, 9, 14, 17, 22, 25, 31, 38, 40, 47, 53]) {
    await child(dieAt, `child-${dieAt}`).ended
    const done = await applied()
    expect(done).toEqual(upTo(done.length))
    reached.push(done.length)
  }
  expect(reached).toEqual(reached.toSorted((a, b) => a - b))
  const last = child(0, 'last')
  await bench.live('counting')
  await last.kill()
  expect(await applied()).toEqual(upTo(count))
}, 120_000)

test('of two instances one works, and the other goes on after a kill -9, with no event twice (G4)', async () => {
  const ledger = new Ledger()
  await bench.store(upTo(20).map(() => ledger.next('a')))
  const children = new Map(['first', 'second'].map((name) => [name, child(0, name)]))
  try {
    await bench.live('counting')
    const holderSql =
      'select holder, token::text from tidegate.projection_versions where held_until > clock_timestamp()'
    for (let round = 1; round <= 2; round++) {
      const { holder } = await bench.until<{ holder: string }>(holderSql, (row) => row !== undefined)
      await children.get(holder)?.kill()
      await bench.store(upTo(20).map(() => ledger.next('a')))
      // Nobody but the other one is there: what it takes over it takes within a lease.
      if (round === 2) children.set(holder, child(0, holder))
      await bench.live('counting')
      expect(await applied()).toEqual(upTo(20 + 20 * round))
    }
  } finally {
    for (const one of children.values()) await one.kill()
  }
}, 60_000)

/** Ends the transaction's backend before each of its statements in turn, then lets it pass; answers how many there were. */
async function atEachStep(work: (tx: Transaction) => Promise<unknown>, whole: () => Promise<void>) {
  for (let dieAt = 1; ; dieAt++) {
    let step = 0
    const cut = bench.transact(async (tx) => {
      const query: Transaction['query'] = async (sql, params) => {
        step += 1
        if (step === dieAt) {
          const { rows } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid')
          await bench.rows('select pg_terminate_backend($1, 5000)', [rows[0]?.pid])
        }
        return tx.query(sql, params)
      }
      await work(Object.assign(Object.create(tx) as Transaction, { query }))
    })
    const failed = await cut.then(
      () => false,
      () => true,
    )
    if (!failed) return dieAt - 1
    await whole()
  }
}

describe('cut off at each of its statements', () => {
  test('a switch, a rebuild and a drop are done, or as if they had never begun (G4)', async () => {
    const ledger = new Ledger()
    await bench.store(upTo(3).map(() => ledger.next('a')))
    // Without a runner that would go on meanwhile.
    const first = bench.start([counting()])
    await bench.live('counting')
    const running = bench.start([counting({ version: 2 })])
    await bench.live('counting', 2)
    await first.close()
    await running.close()
    const state = () =>
      bench.rows(
        `select active, former, pg_get_viewdef('projection.counting') as shown,
           array(select version || state || cursor from tidegate.projection_versions order by 1) as versions,
           array(select nspname::text from pg_namespace where nspname ~ '^projection_' order by 1) as schemas
         from tidegate.projections`,
      )
    const name = 'counting'
    for (const work of [
      (tx: Transaction) => switchVersion(tx, { name, version: 2, force: true }),
      (tx: Transaction) => rebuildVersion(tx, { name, version: 1 }),
      (tx: Transaction) => dropVersion(tx, { name, version: 1 }),
    ]) {
      const before = await state()
      const steps = await atEachStep(work, async () => expect(await state()).toEqual(before))
      expect(steps).toBeGreaterThan(2)
      expect(await state()).not.toEqual(before)
    }
    expect(await applied()).toEqual([1, 2, 3])
  }, 60_000)
})
