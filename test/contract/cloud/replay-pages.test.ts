import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import type { Storage, Transaction } from '../../../cloud/database/storage.ts'
import type { LetterFilter, ReplayState } from '../../../cloud/deeds/deeds.ts'
import { postgresPages } from '../../../cloud/history/replay-pages-postgres.ts'
import { postgresReplays } from '../../../cloud/replays/replays-postgres.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { deedOf, type DeedsBench, openDeedsBench } from '../../support/cloud/deeds-bench.ts'

const until = <T>(check: () => Promise<T>): Promise<T> => vi.waitFor(check, { timeout: 20_000, interval: 50 })

let bench: DeedsBench
beforeEach(async () => {
  bench = await openDeedsBench()
})
afterEach(() => bench.close())

/** Open letters of a group that is not there, of 1,000 devices and as many causes. */
function addMany(group: string, letters: number): Promise<unknown> {
  return bench.rows(
    `insert into tidegate.dead_letters (consumer_group, key, source, id, type, device, gateway, epoch, sequence, body, properties,
       headers, routing_key, queue, fingerprint, code, message, attempts, failures, instance, first_failed_at, last_failed_at)
     select '${group}', sha256(n::text::bytea), '/devices/d' || n % 1000, 'i' || n, 't', 'd' || n % 1000, 'g', 'e', n, '{}', '{}',
       '{}', '00.t', 'q', 'f' || n % 1000, 'C', 'm', 1, '[]', 'i', now(), now() from generate_series(1, ${letters}) as n`,
  )
}

interface Plan {
  'Shared Hit Blocks': number
  'Shared Read Blocks': number
}

/** With what PostgreSQL says of the statement that finds a page. */
function explaining(pages: number[]): Storage {
  const storage = postgresStorage(bench.database)
  return {
    ...storage,
    transaction: (work, signal) =>
      storage.transaction((tx) => {
        const query = tx.query.bind(tx)
        const watching = Object.create(tx) as Transaction
        watching.query = async (text: string, values: readonly unknown[] = []) => {
          if (text.includes('skip locked') && text.includes('dead_letters')) {
            const { rows } = await query<{ 'QUERY PLAN': { Plan: Plan }[] }>(
              `explain (analyze, buffers, format json) ${text}`,
              values,
            )
            const plan = rows[0]?.['QUERY PLAN'][0]?.Plan
            pages.push((plan?.['Shared Hit Blocks'] ?? NaN) + (plan?.['Shared Read Blocks'] ?? NaN))
          }
          return (await query(text, values)) as never
        }
        return work(watching)
      }, signal),
  }
}

function ended(replay: number): Promise<ReplayState> {
  return until(async () => {
    const state = await bench.deeds.replayState(replay)
    expect(state.endedAt).toBeDefined()
    return state
  })
}

describe('a page of a replay', () => {
  test.each<LetterFilter>([
    { letter: 77 },
    { fingerprint: 'f5' },
    { device: 'd5' },
    { group: 'retired' },
    { group: 'retired', fingerprint: 'f5' },
  ])('costs what is in it, however many letters there are: %o', async (filter) => {
    await bench.startEffects()
    await addMany('retired', 100_000)
    await bench.rows('analyze tidegate.dead_letters')
    const { total } = await bench.deeds.replay(deedOf({ filter }))
    const pages: number[] = []
    const { signal } = new AbortController()
    const storage = explaining(pages)
    const replays = postgresReplays({
      storage,
      leaseMs: 60_000,
      groups: ['retired'],
      pages: postgresPages,
      signal,
    })
    const claimed = await until(async () => {
      const found = await replays.claim()
      expect(found).toBeDefined()
      return found
    })
    if (!claimed) return
    for (let page = 0; page < 3; page++) {
      expect(await replays.take(claimed, 50)).toHaveLength(Math.max(0, Math.min(50, total - page * 50)))
      await replays.sent(claimed)
    }
    // A letter is some pages of its table and of its index; all of them are some 10,000.
    expect(Math.max(...pages)).toBeLessThan(1_000)
  })
})

describe('a page of history', () => {
  test('of a group that takes little of it passes over the rest in large steps, however slow its rate is (G7)', async () => {
    await bench.start({ consumers: ['history'] })
    const ledger = new Ledger()
    const common = Array.from({ length: 1_000 }, (_, n) => ledger.next(`device-${n % 8}`))
    await bench.publish(common)
    await until(async () =>
      expect(await bench.rows(`select from tidegate.events where source like '/devices/%'`)).toHaveLength(
        1_000,
      ),
    )
    await bench.publish([ledger.next('device-1', { type: 'com.acme.rare' })])
    const read = (patterns: string[]) =>
      postgresStorage(bench.database).transaction(
        (tx) =>
          postgresPages.read(tx, {
            after: '',
            selection: { group: 'one' },
            wants: (type) => type === 'com.acme.rare',
            patterns,
            max: 1,
          }),
        new AbortController().signal,
      )
    await until(async () => expect((await read(['com.acme.rare'])).events).toHaveLength(1))
    for (const patterns of [
      ['#.rare'],
      ['*.*.rare'],
      ['com.#.rare'],
      ['com.acme.rare.#'],
      ['x.y', 'com.acme.rare'],
    ])
      expect((await read(patterns)).events, patterns.join()).toMatchObject([{ type: 'com.acme.rare' }])
    expect((await read(['acme.rare'])).events).toEqual([])
  })
})

describe('a replay', () => {
  test('of a group that runs nowhere holds up none, sends nothing, and ends when it is stopped (G5)', async () => {
    await bench.startEffects()
    await bench.breakDevice('device-1')
    const ledger = new Ledger()
    await bench.publish([ledger.next('device-1'), ledger.next('device-1')])
    await until(async () => expect(await bench.letterStates()).toHaveLength(2))
    await addMany('retired', 3)
    await bench.mendDevice('device-1')
    const retired = await bench.deeds.replay(deedOf({ filter: { type: 't' } }))
    await until(async () =>
      expect((await bench.letterStates()).filter(({ state }) => state === 'replaying')).toHaveLength(3),
    )
    const other = await bench.deeds.replay(deedOf({ filter: { group: 'effects' } }))
    expect(await ended(other.replay)).toMatchObject({ state: 'done', resolved: 2 })
    await bench.deeds.stopReplay(deedOf({ replay: retired.replay }))
    expect(await ended(retired.replay)).toMatchObject({ state: 'stopped', returned: 3, resolved: 0 })
    expect((await bench.letterStates()).filter(({ state }) => state === 'open')).toHaveLength(3)
  })

  test('says how many letters somebody else had in hand when it came by', async () => {
    await bench.startEffects()
    await addMany('effects', 4)
    const client = await bench.database.pool.connect()
    await client.query('begin')
    await client.query('select from tidegate.dead_letters where sequence <= 2 for update')
    const { replay } = await bench.deeds.replay(deedOf({ filter: { group: 'effects' } }))
    await until(async () => expect((await bench.deeds.replayState(replay)).sent).toBe(2))
    await until(async () =>
      expect(await bench.rows('select from tidegate.replays where exhausted')).toHaveLength(1),
    )
    await client.query('rollback')
    client.release()
    const state = await ended(replay)
    expect(state).toMatchObject({ state: 'done', total: 4, sent: 2 })
    expect(state.reason).toMatch(/^2 letters were in other hands/)
  })
})
