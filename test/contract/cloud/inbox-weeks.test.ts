import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { keepInbox } from '../../../cloud/database/inbox-upkeep-postgres.ts'
import { inboxWeeks } from '../../../cloud/database/migrations/0018-inbox-weeks.ts'
import { migrations } from '../../../cloud/database/migrations/all.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import type { Claim, Storage, Transaction } from '../../../cloud/database/storage.ts'
import { isOutage } from '../../../cloud/pipeline/retry.ts'
import { migrateCloud } from '../../../cloud/migrate.ts'
import { cloudConfigSchema } from '../../../cloud/config.ts'
import { migrated, startup } from '../../support/cloud/cloud.ts'
import { formerClaim } from '../../support/cloud/former-inbox.ts'
import { weekPasses } from '../../support/cloud/inbox-claims.ts'
import { createDatabase, createRoles, type Role } from '../../support/servers.ts'

const dayMs = 24 * 3_600_000
const never = new AbortController().signal
const denied = { code: expect.stringMatching(/DATABASE_DENIED|42501/) as string }

let url: string
let owner: Database
const pools: Database[] = []
afterAll(async () => {
  for (const pool of pools) await pool.close()
})

async function openNew(): Promise<void> {
  url = await createDatabase()
  owner = opened(url)
}

function opened(at: string): Database {
  const pool = poolOf({ url: at, poolMax: 4, applicationName: 'test' })
  pools.push(pool)
  return pool
}

const event = (id: string, generation?: string): Claim => ({ source: '/devices/sensor-1', id, generation })

/** As a process that has just started: it remembers nothing of the inbox. */
const transaction = <T>(work: (tx: Transaction) => Promise<T>, database = owner): Promise<T> =>
  postgresStorage(database).transaction(work, never)
const claim = (...claims: Claim[]): Promise<boolean[]> => transaction((tx) => tx.inbox.claim('group', claims))
const claimOn = (storage: Storage, id: string): Promise<boolean[]> =>
  storage.transaction((tx) => tx.inbox.claim('group', [event(id)]), never)
const claimBefore = (...ids: string[]): Promise<boolean[]> =>
  transaction((tx) =>
    formerClaim(
      tx,
      'group',
      ids.map((id) => event(id)),
    ),
  )

async function weeks(): Promise<{ name: string; forgotten: boolean }[]> {
  return owner.query(
    `select name, forgotten_at is not null as forgotten from tidegate.inbox_weeks where from_time <= now() and name <> 'inbox' order by from_time`,
  )
}
const forget = async (retentionMs = 14 * dayMs): Promise<string[]> =>
  (await keepInbox(owner, retentionMs)).dropped
const hoursPass = (hours: number): Promise<unknown> =>
  owner.query(
    `update tidegate.inbox_weeks set forgotten_at = forgotten_at - make_interval(hours => $1::int),
       until_time = case when until_time < now() then until_time - make_interval(hours => $1::int) else until_time end`,
    [hours],
  )
const processed = (id: string): Promise<object[]> =>
  owner.query(
    `select consumer_group as group, processed_at > now() - interval '1 minute' as just_now from tidegate.processed('/devices/sensor-1', $1)`,
    [id],
  )

describe('the inbox by weeks', () => {
  beforeAll(async () => {
    await openNew()
    await migrated(owner)
    await hoursPass(25)
    // The table of before, which was empty.
    await forget()
  })
  beforeEach(async () => {
    await dropWeeks()
    await owner.query('delete from tidegate.inbox_groups')
    await owner.query('select tidegate.prepare_inbox()')
  })

  test('a repeat is known on the other side of the border of a week, in whichever week its event was recorded (G4)', async () => {
    expect(await claim(event('a'), event('b'))).toEqual([true, true])
    expect(await processed('a')).toEqual([{ group: 'group', just_now: true }])
    await weekPasses(owner)
    expect(await claim(event('a'), event('c'), event('a'))).toEqual([false, true, false])
    expect(await processed('a')).toEqual([{ group: 'group', just_now: false }])
    await weekPasses(owner)
    expect(await claim(event('a'), event('b'), event('c'))).toEqual([false, false, false])
    expect(await claim(event('a', 'again'), event('a', 'again'))).toEqual([true, false])
    await weekPasses(owner)
    expect(await claim(event('a', 'again'))).toEqual([false])
  })

  test.each([
    ['commits', false],
    ['fails', true],
  ])(
    'of two that claim one event on both sides of the border, the second waits for the first, which %s (G4)',
    async (_, isNew) => {
      const [holding, ending] = [latch(), latch()]
      // The group has its number: the two meet nowhere but in a week.
      await claim(event('before'))
      const first = transaction(async (tx) => {
        const claimed = await tx.inbox.claim('group', [event('a')])
        holding.open()
        await ending.opened
        if (isNew) throw new Error('the handler failed')
        return claimed
      }).catch(() => 'failed')
      await holding.opened
      await borderIsNow()
      let isOver = false
      const second = claim(event('a')).finally(() => (isOver = true))
      await waits(() => isOver)
      const hasWaited = !isOver
      ending.open()
      expect(await first).toEqual(isNew ? 'failed' : [true])
      expect(hasWaited).toBe(true)
      expect(await second).toEqual([isNew])
      expect(await claim(event('a'))).toEqual([false])
    },
  )

  test('whoever claims goes over to the next week when the clock of the database does (G4)', async () => {
    await borderIn(300)
    const remembering = postgresStorage(owner)
    expect(await claimOn(remembering, 'a')).toEqual([true])
    while ((await weeks()).length < 2) await claimOn(remembering, 'a')
    expect([await claimOn(remembering, 'a'), await claimOn(remembering, 'b')]).toEqual([[false], [true]])
    expect(await owner.query(`select from tidegate.${(await weeks())[1]?.name}`)).toHaveLength(1)
  })

  test('what is claimed on both sides and taken back is new again', async () => {
    await borderIsNow()
    await transaction(async (tx) => {
      expect(await tx.inbox.claim('group', [event('a')])).toEqual([true])
      await tx.inbox.release('group', [event('a')])
    })
    expect(await owner.query('select from tidegate.inbox_claims')).toEqual([])
    expect(await claim(event('a'))).toEqual([true])
  })

  test('what an earlier transaction has claimed is taken back from each week that is kept (G4)', async () => {
    for (const id of ['a', 'b', 'c']) {
      await claim(event(id), event(`${id} stays`))
      await weekPasses(owner)
    }
    await borderIsNow()
    await claim(event('d'))
    await transaction((tx) => tx.inbox.release('group', [event('a'), event('b'), event('c'), event('d')]))
    const stays = [event('a stays'), event('b stays'), event('c stays')]
    expect(await claim(...stays)).toEqual([false, false, false])
    expect(await claim(event('a'), event('b'), event('c'), event('d'))).toEqual([true, true, true, true])
  })

  test('a week is forgotten once its last claim is as old as the retention, and not before; a day later it is dropped, while others claim (G4, G7)', async () => {
    await claim(event('a'))
    await weekPasses(owner)
    await weekPasses(owner)
    // Its end was up to two weeks ago.
    expect(await forget()).toEqual([])
    expect(await weeks()).toMatchObject(Array.from({ length: 3 }, () => ({ forgotten: false })))
    expect(await claim(event('a'))).toEqual([false])
    await weekPasses(owner)
    expect(await forget()).toEqual([])
    expect((await weeks()).map(({ forgotten }) => forgotten)).toEqual([true, false, false, false])
    const [oldest] = await weeks()
    // A repeat has its effect again from here on.
    expect(await claim(event('a'))).toEqual([true])
    expect(await forget()).toEqual([])
    await hoursPass(25)
    await transaction(async (tx) => {
      await tx.inbox.claim('group', [event('b')])
      expect(await forget()).toEqual([oldest?.name])
    })
    expect(await owner.query('select to_regclass($1) is null as gone', [`tidegate.${oldest?.name}`])).toEqual(
      [{ gone: true }],
    )
    expect(await claim(event('a'), event('b'), event('c'))).toEqual([false, false, true])
  })

  test('a week that nobody has made is made before the handler begins: it stays if that fails, and holds nobody up (G4)', async () => {
    const remembering = postgresStorage(owner)
    await dropWeeks()
    const failed = remembering.transaction(async (tx) => {
      expect(await tx.inbox.claim('group', [event('a')])).toEqual([true])
      expect(await claim(event('b'))).toEqual([true])
      throw new Error('the handler failed')
    }, never)
    await expect(failed).rejects.toThrow('the handler failed')
    const again = (): Promise<boolean[]> =>
      remembering.transaction((tx) => tx.inbox.claim('group', [event('a'), event('b')]), never)
    expect([await again(), await again()]).toEqual([
      [true, false],
      [false, false],
    ])
  })

  test('a group has its number before its first handler begins: one that fails takes it from nobody, uses no more up, and holds nobody up (G4)', async () => {
    const [remembering, other] = [postgresStorage(owner), postgresStorage(owner)]
    const before = await lastNumber()
    for (let times = 0; times < 5; times++) {
      const failed = remembering.transaction(async (tx) => {
        await tx.inbox.claim('group', [event('a'), event('z')])
        await tx.inbox.release('group', [event('z')])
        expect(await claim(event(`b ${times}`))).toEqual([true])
        throw new Error('the handler failed')
      }, never)
      await expect(failed).rejects.toThrow('the handler failed')
    }
    expect(await lastNumber()).toBe(before + 1)
    expect([await claimOn(remembering, 'a'), await claimOn(other, 'a')]).toEqual([[true], [false]])
  })

  test('many that begin at once have one number (G4)', async () => {
    const remembering = postgresStorage(owner)
    const claims = await Promise.all(Array.from({ length: 4 }, () => claimOn(remembering, 'a')))
    expect(claims.filter(([isNew]) => isNew)).toHaveLength(1)
    expect(await owner.query('select name from tidegate.inbox_groups')).toEqual([{ name: 'group' }])
  })

  test('a number that is another group’s now, in a database that was put back, is asked for anew (G4)', async () => {
    const remembering = postgresStorage(owner)
    const claimFor = (group: string): Promise<boolean[]> =>
      remembering.transaction((tx) => tx.inbox.claim(group, [event('a')]), never)
    expect([await claimFor('group'), await claimFor('group')]).toEqual([[true], [false]])
    await owner.query(`update tidegate.inbox_groups set name = 'other'`)
    expect([await claimFor('group'), await claimFor('other')]).toEqual([[true], [false]])
    await owner.query(`update tidegate.inbox_groups set name = 'another' where name = 'group'`)
    await remembering.transaction((tx) => tx.inbox.release('group', [event('a')]), never)
    expect([await claimFor('another'), await claimFor('group')]).toEqual([[false], [true]])
  })

  test('that there are no more numbers is no event’s fault (G5)', async () => {
    await owner.query(`select setval('tidegate.inbox_groups_number_seq', 32767)`)
    const failed = await claim(event('a')).catch((error: unknown) => error)
    await owner.query(`select setval('tidegate.inbox_groups_number_seq', 100)`)
    expect(failed).toMatchObject({ code: 'DATABASE_FAULT', retryable: true })
    expect(await claim(event('a'))).toEqual([true])
  })

  test('an instance that was idle while a week was forgotten and dropped claims without it, after ten minutes at once, before that the second time (G4)', async () => {
    let monotonicMs = 0
    const clock = { monotonicMs: () => monotonicMs }
    for (let times = 0; times < 3; times++) {
      await claim(event('a'))
      await weekPasses(owner)
    }
    const [idle, idleForLong] = [postgresStorage(owner, clock), postgresStorage(owner, clock)]
    for (const storage of [idle, idleForLong]) await claimOn(storage, 'b')
    const [oldest] = await weeks()
    await forget()
    await hoursPass(25)
    expect(await forget()).toEqual([oldest?.name])
    const failed: unknown = await claimOn(idle, 'b').catch((error: unknown) => error)
    expect(isOutage(failed)).toBe(true)
    expect(await claimOn(idle, 'b')).toEqual([false])
    monotonicMs = 600_000
    expect(await claimOn(idleForLong, 'b')).toEqual([false])
  })

  test('what was forgotten by a clock that was ahead is known again at once, and stays (G4)', async () => {
    await claim(event('a'))
    await weekPasses(owner)
    await claim(event('b'))
    await owner.query(`update tidegate.inbox_weeks set forgotten_at = now() + interval '60 days'`)
    expect(await claim(event('a'), event('b'), event('c'))).toEqual([false, false, true])
    expect(await forget()).toEqual([])
    await owner.query(
      `update tidegate.inbox_weeks set forgotten_at = now() - interval '2 days' where until_time > now()`,
    )
    expect(await claim(event('a'), event('b'), event('c'))).toEqual([false, false, false])
    await owner.query(`update tidegate.inbox_weeks set forgotten_at = now() - interval '2 days'`)
    expect(await forget()).toEqual([])
    expect((await weeks()).filter(({ forgotten }) => forgotten)).toEqual([])
    expect(await claim(event('a'), event('b'), event('c'))).toEqual([false, false, false])
  })

  test('that there is no week for today is an outage, and says what to look at (G5)', async () => {
    await owner.query(
      `update tidegate.inbox_weeks set from_time = from_time - interval '10 years', until_time = until_time - interval '10 years'`,
    )
    const failed = await claim(event('a')).catch((error: unknown) => error)
    expect(isOutage(failed)).toBe(true)
    expect(failed).toMatchObject({
      message: 'the inbox has no week for today',
      retryable: true,
      hint: expect.stringContaining('prepare_inbox') as string,
    })
  })

  test('what was claimed while the clock of the database was ahead is known when it is right again, also to an instance that was idle (G4)', async () => {
    const idle = postgresStorage(owner)
    await claimOn(idle, 'a')
    await claimAhead(1, 'b')
    expect(await claimOn(idle, 'b')).toEqual([false])
    await claimAhead(6, 'c')
    expect(await claimOn(idle, 'c')).toEqual([false])
  })

  test('a week that somebody reads for long keeps no other from being forgotten or dropped (G4, G7)', async () => {
    for (let times = 0; times < 5; times++) await weekPasses(owner)
    await forget()
    await hoursPass(25)
    const [first, ...others] = (await weeks()).filter(({ forgotten }) => forgotten)
    await owner.query(
      `update tidegate.inbox_weeks set until_time = until_time - interval '20 days', from_time = from_time - interval '20 days' where from_time <= now() - interval '7 days' and forgotten_at is null`,
    )
    const client = await owner.connect()
    await client.query('begin')
    await client.query(`select from tidegate.${first?.name}`)
    expect(await forget()).toEqual(others.map(({ name }) => name))
    expect((await weeks()).filter(({ forgotten }) => !forgotten)).toHaveLength(1)
    await client.query('rollback')
    client.release()
    expect(await forget()).toEqual([first?.name])
  })

  test('without a retention nothing is forgotten', async () => {
    await expect(owner.query('select tidegate.forget_inbox(null)')).rejects.toMatchObject({ code: '22004' })
  })

  test('plans that were made while a week was empty read nothing but what they look for when it is full (G7)', async () => {
    await owner.query('vacuum')
    const single = poolOf({ url, poolMax: 1, applicationName: 'test' })
    pools.push(single)
    const storage = postgresStorage(single)
    const round = (number: number): Promise<void> =>
      storage.transaction(async (tx) => {
        const claims = [event(`a ${number}`), event(`b ${number}`)]
        await tx.inbox.claim('group', claims)
        await tx.inbox.claim('group', claims)
        await tx.inbox.release('group', claims)
      }, never)
    // PostgreSQL keeps to the sixth plan of a statement.
    for (let number = 0; number < 10; number++) await round(number)
    const [week] = await weeks()
    await owner.query(
      `insert into tidegate.${week?.name} select gen_random_uuid(), 0, 1 from generate_series(1, 2000)`,
    )
    const read = await storage.transaction(async (tx) => {
      const claims = [event('full')]
      const before = await readByScan(tx)
      await tx.inbox.claim('group', claims)
      await tx.inbox.claim('group', claims)
      await tx.inbox.release('group', claims)
      return (await readByScan(tx)) - before
    }, never)
    expect(read).toBe(0)
  })

  test('the key in SQL is that of the program', async () => {
    await claim(event('a'), event('é-ü', '2026-fix'))
    expect(
      await owner.query(`select from tidegate.inbox_claims where key in
        (tidegate.inbox_key('/devices/sensor-1', 'a'), tidegate.inbox_key('/devices/sensor-1', 'é-ü', '2026-fix'))`),
    ).toHaveLength(2)
  })
})

describe('the inbox of a cloud that may not alter its tables', () => {
  let urlOf: (role: Role) => string
  beforeAll(async () => {
    await openNew()
    urlOf = await createRoles(url)
    await migrateCloud(cloudConfigSchema.parse({ database: { url: urlOf('owner') } }), startup)
  })

  test('it claims in weeks that it makes, and can drop none that is not too old (G4)', async () => {
    const writer = opened(urlOf('writer'))
    await dropWeeks()
    expect((await keepInbox(writer, 0)).made).toHaveLength(3)
    const [now] = await weeks()
    await borderIsNow()
    expect(await transaction((tx) => tx.inbox.claim('group', [event('a')]), writer)).toEqual([true])
    expect(await keepInbox(writer, 0)).toEqual({ made: [], dropped: [] })
    expect((await weeks()).filter(({ forgotten }) => forgotten)).toEqual([])
    expect(await transaction((tx) => tx.inbox.claim('group', [event('a')]), writer)).toEqual([false])
    for (const sql of [
      `drop table tidegate.${now?.name}`,
      `truncate tidegate.${now?.name}`,
      'delete from tidegate.inbox_weeks',
      `update tidegate.inbox_weeks set forgotten_at = '-infinity'`,
      'select tidegate.share_inbox()',
    ])
      await expect(writer.query(sql), sql).rejects.toMatchObject(denied)
    await opened(urlOf('reader')).query(`select * from tidegate.processed('/devices/sensor-1', 'a')`)
  })
})

describe('a database whose inbox was not by weeks', () => {
  const before = migrations.slice(0, migrations.indexOf(inboxWeeks))
  beforeEach(async () => {
    await openNew()
    await migrated(owner, before)
  })

  test('what was claimed there is known for as long as it would have been, and goes then, nothing copied (G4)', async () => {
    await claimBefore('a', 'b', 'buried')
    await migrated(owner)
    expect(await claim(event('a'), event('c'), event('b', 'again'))).toEqual([false, true, true])
    await transaction((tx) => tx.inbox.release('group', [event('buried'), event('b', 'again')]))
    expect(await claim(event('buried'), event('b'), event('b', 'again'))).toEqual([true, false, true])
    expect(await processed('a')).toEqual([{ group: 'group', just_now: true }])
    await weekPasses(owner)
    await weekPasses(owner)
    await hoursPass(-1)
    expect(await forget()).toEqual([])
    expect(await claim(event('a'), event('b', 'again'))).toEqual([false, false])
    await hoursPass(2)
    await forget()
    expect(await claim(event('a'))).toEqual([true])
    await hoursPass(25)
    expect(await forget()).toContain('inbox')
    expect(await owner.query(`select to_regclass('tidegate.inbox') is null as gone`)).toEqual([
      { gone: true },
    ])
    expect(await processed('b')).toEqual([])
    expect(await claim(event('a'), event('b'))).toEqual([false, true])
  })

  test('the step waits for whoever has claimed there and not committed; a cloud of before that is still at work claims nothing any more, and waits as for a database that is away (G4)', async () => {
    const [holding, ending] = [latch(), latch()]
    const claiming = transaction(async (tx) => {
      await formerClaim(tx, 'group', [event('b')])
      holding.open()
      await ending.opened
    })
    await holding.opened
    const upgrading = migrated(owner)
    await waits()
    ending.open()
    await claiming
    await upgrading
    expect(await claim(event('b'))).toEqual([false])
    await expect(claimBefore('c')).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE', retryable: true })
    expect(await claim(event('c'))).toEqual([true])
  })

  test('a group that is to have everything once more has also what was claimed there', async () => {
    await claimBefore('a')
    await migrated(owner)
    await claim(event('b'), event('c', 'again'))
    await transaction((tx) => tx.inbox.claim('other', [event('b')]))
    expect(await owner.query(`select tidegate.forget_processed('group')::int as n`)).toEqual([{ n: 3 }])
    expect(await claim(event('a'), event('b'), event('c', 'again'))).toEqual([true, true, true])
    expect(await transaction((tx) => tx.inbox.claim('other', [event('b')]))).toEqual([false])
  })

  test('of one that held nothing nothing is left after a day, in which a cloud of before is told why it waits (G4)', async () => {
    await migrated(owner)
    expect(await forget()).toEqual([])
    await expect(claimBefore('a')).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: expect.stringContaining('a later version of Tidegate has taken over') as string,
    })
    expect(await claim(event('a'))).toEqual([true])
    await hoursPass(25)
    expect(await forget()).toEqual(['inbox'])
    expect(await owner.query(`select tidegate.forget_processed('group')::int as n`)).toEqual([{ n: 1 }])
  })
})

function latch(): { opened: Promise<void>; open: () => void } {
  let open: () => void = nothing
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

/** The group has claimed an event in the week so many weeks from now, which is made if it is not there. */
async function claimAhead(weeksAhead: number, id: string): Promise<void> {
  const [week] = await owner.query<{ name: string; is_new: boolean }>(
    `select 'inbox_' || to_char(at at time zone 'UTC', 'YYYYMMDD') as name,
       not exists (select from tidegate.inbox_weeks where from_time = at) as is_new
     from (select date_trunc('week', now(), 'UTC') + $1::int * interval '168 hours' as at) as week`,
    [weeksAhead],
  )
  const table = `tidegate.${week?.name}`
  if (week?.is_new) {
    await owner.query(
      `create table ${table} (primary key (key, consumer_group)) inherits (tidegate.inbox_claims)`,
    )
    await owner.query(
      `insert into tidegate.inbox_weeks (name, from_time, until_time)
       select $1, at, at + interval '168 hours' from (select date_trunc('week', now(), 'UTC') + $2::int * interval '168 hours' as at) as week`,
      [week.name, weeksAhead],
    )
  }
  await owner.query(
    `insert into ${table} select tidegate.inbox_key('/devices/sensor-1', $1), 0, number from tidegate.inbox_groups where name = 'group'`,
    [id],
  )
}

async function readByScan(tx: Transaction): Promise<number> {
  const { rows } = await tx.query<{ read: number }>(
    `select sum(seq_tup_read)::int as read from pg_stat_xact_user_tables where relname ~ '^inbox_2'`,
  )
  return rows[0]?.read ?? 0
}

async function lastNumber(): Promise<number> {
  const [row] = await owner.query<{ last: number }>(
    'select last_value::int as last from tidegate.inbox_groups_number_seq',
  )
  return row?.last ?? 0
}

/** As if nobody had ever made one. */
async function dropWeeks(): Promise<void> {
  await owner.query(`do $$ declare week record; begin
    for week in delete from tidegate.inbox_weeks where name <> 'inbox' returning name loop execute format('drop table tidegate.%I', week.name); end loop; end $$`)
}

/** From now on it is the week after the one in which it was. */
const borderIsNow = (): Promise<void> => borderIn(0)

/** In so many ms that week comes. */
async function borderIn(ms: number): Promise<void> {
  await owner.query(
    `with border as (select date_trunc('milliseconds', clock_timestamp()) + make_interval(secs => $1::float8 / 1000) as at), this as (select name, until_time from tidegate.inbox_weeks where from_time <= now() and until_time > now())
    update tidegate.inbox_weeks as w set
      until_time = case when w.name = this.name then border.at else w.until_time end,
      from_time = case when w.from_time = this.until_time then border.at else w.from_time end
    from border, this where w.name = this.name or w.from_time = this.until_time`,
    [ms],
  )
}

/** Somebody waits for a lock. */
async function waits(isOver = () => false): Promise<void> {
  while (!isOver()) {
    const [row] = await owner.query<{ n: number }>(
      `select count(*)::int as n from pg_locks where not granted and pid <> pg_backend_pid()
         and pid in (select pid from pg_stat_activity where datname = current_database())`,
    )
    if (row?.n) return
  }
}

function nothing(): void {}
