import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Delivery } from '../../../cloud/amqp/delivery.ts'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import type { Storage } from '../../../cloud/database/storage.ts'
import { postgresStorage } from '../../../cloud/database/storage-postgres.ts'
import {
  type Added,
  type DeadLetter,
  deadLetterOf,
  type DeadLetters,
} from '../../../cloud/letters/dead-letters.ts'
import { postgresDeadLetters } from '../../../cloud/letters/dead-letters-postgres.ts'
import { noReplays } from '../../../cloud/letters/upkeep.ts'
import { postgresUpkeep } from '../../../cloud/letters/upkeep-postgres.ts'
import type { Statements } from '../../../cloud/database/statements.ts'
import { systemClock } from '../../../src/clock.ts'
import type { Event } from '../../../src/contract/event.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { migrated } from '../../support/cloud/cloud.ts'
import { createFakeStorage, fakeDeadLetters } from '../../support/fakes/storage.ts'
import { deliveryOf } from '../../support/fakes/delivery.ts'
import { createDatabase } from '../../support/servers.ts'

const never = new AbortController().signal
const ledger = new Ledger()

interface Failing {
  event?: Event | undefined
  error?: unknown
  group?: string
  version?: string
  delivery?: Partial<Delivery>
}

/** A letter of an event, or of a message that is none. */
function letterOf({
  event,
  error = new Error('odd'),
  group = 'g',
  version,
  delivery,
}: Failing = {}): DeadLetter {
  return deadLetterOf({
    delivery: deliveryOf({
      ...(event && { text: Buffer.from(JSON.stringify(event)) }),
      queue: `${group}.00.v2`,
      ...delivery,
    }),
    error,
    event,
    group,
    instance: 'i',
    version,
    nowMs: Date.UTC(2026, 0, 1),
  })
}

const failing = (code: string, word: string): DeadLetter =>
  letterOf({ event: eventOf(), error: Object.assign(new Error(word), { code, stack: '' }) })
/** A number without a digit. */
const word = (index: number): string =>
  String(index)
    .split('')
    .map((digit) => 'ghijklmnop'[Number(digit)])
    .join('')
const eventOf = (device = 'device-1'): Event => ledger.next(device).event
const withMessage = (message: string): Error =>
  Object.assign(new Error(message), { code: 'SITE_UNKNOWN', stack: '' })

const rareLetter = (): DeadLetter => letterOf({ event: eventOf(), error: withMessage('rare') })

let postgres: Database
beforeAll(async () => {
  postgres = poolOf({ url: await createDatabase(), poolMax: 4, applicationName: 'test' })
  await migrated(postgres)
})
afterAll(() => postgres.close())
beforeEach(async () => {
  await postgres.query('truncate tidegate.dead_letters, tidegate.failure_groups, tidegate.failure_counts')
})

const upkeep = () => postgresUpkeep(postgres, systemClock)
const add = (letters: readonly DeadLetter[]): Promise<Added[]> =>
  postgresStorage(postgres).transaction((tx) => postgresDeadLetters(tx).add(letters), never)
const groupsNow = () =>
  postgres.query<{ letters: number; open: number; status: string; message: string; code: string }>(
    `select letters::int, open::int, open_bytes::int, status, message, code, first_version, last_version
     from tidegate.failure_groups order by fingerprint`,
  )

/** The messages of the only letter's failures. */
async function storyOf(storage: Storage): Promise<string[]> {
  const [row] =
    'dead' in storage
      ? (storage as ReturnType<typeof createFakeStorage>).dead()
      : await postgres.query<{ failures: { message: string }[] }>(
          'select failures from tidegate.dead_letters',
        )
  return (row?.failures ?? []).map(({ message }) => message)
}

describe.each<[string, () => Storage, (tx: Statements) => DeadLetters]>([
  ['in memory', () => createFakeStorage(), fakeDeadLetters],
  ['PostgreSQL', () => postgresStorage(postgres), postgresDeadLetters],
])('dead letters (%s)', (_, open, lettersIn) => {
  test('of one event there is one open letter in a group, however often it is added, also in one call (G5)', async () => {
    const storage = open()
    const [event, other] = [eventOf(), eventOf()]
    const put = (letters: DeadLetter[]): Promise<Added[]> =>
      storage.transaction((tx) => lettersIn(tx).add(letters), never)
    const [first, same, second, elsewhere] = await put([
      letterOf({ event }),
      letterOf({ event }),
      letterOf({ event: other }),
      letterOf({ event, group: 'h' }),
    ])
    expect([first?.isNew, same?.isNew, second?.isNew, elsewhere?.isNew]).toEqual([true, false, true, true])
    expect(same?.letter).toBe(first?.letter)
    expect(new Set([first?.letter, second?.letter, elsewhere?.letter]).size).toBe(3)
    expect(await put([letterOf({ event })])).toEqual([{ letter: first?.letter, isNew: false }])
  })

  test('says of which keys there are open letters in a group', async () => {
    const storage = open()
    const [event, other] = [eventOf(), eventOf()]
    const [mine, elsewhere] = [letterOf({ event }), letterOf({ event: other, group: 'h' })]
    await storage.transaction((tx) => lettersIn(tx).add([mine, elsewhere]), never)
    const keys = [mine.key, elsewhere.key]
    const found = await storage.transaction((tx) => lettersIn(tx).openOf(mine.group, keys), never)
    expect([...found]).toEqual([mine.key.toString('hex')])
  })

  test('of what fails again while its letter is open, the letter has a further failure, once each, the newest ten (G5, G7)', async () => {
    const storage = open()
    const event = eventOf()
    const at = (second: number): DeadLetter => ({
      ...letterOf({ event }),
      failures: [
        { attempt: 1, at: new Date(second * 1000).toISOString(), code: 'ODD', message: `${second}` },
      ],
      lastFailedAt: new Date(second * 1000).toISOString(),
    })
    const failedAgain = (letter: DeadLetter): Promise<(number | undefined)[]> =>
      storage.transaction((tx) => lettersIn(tx).failedAgain([letter]), never)
    expect(await failedAgain(at(0))).toEqual([undefined])
    const [added] = await storage.transaction((tx) => lettersIn(tx).add([at(0)]), never)
    expect(await failedAgain(at(0))).toEqual([added?.letter])
    // As a publisher may have written it.
    const odd = { attempt: 1, at: '\0', code: 'ODD', message: '\0 \ud800' }
    expect(await failedAgain({ ...at(0), failures: [odd] })).toEqual([added?.letter])
    expect(await failedAgain({ ...at(0), failures: [odd] })).toEqual([added?.letter])
    for (let second = 1; second <= 11; second++) await failedAgain(at(second))
    // Added once more is the same.
    await storage.transaction((tx) => lettersIn(tx).add([at(12)]), never)
    expect(await storyOf(storage)).toEqual([3, 4, 5, 6, 7, 8, 9, 10, 11, 12].map(String))
  })

  test('what is rolled back is no letter', async () => {
    const storage = open()
    const event = eventOf()
    await expect(
      storage.transaction(async (tx) => {
        await lettersIn(tx).add([letterOf({ event })])
        throw new Error('no')
      }, never),
    ).rejects.toThrow('no')
    const [added] = await storage.transaction((tx) => lettersIn(tx).add([letterOf({ event })]), never)
    expect(added?.isNew).toBe(true)
  })
})

describe('dead letters in PostgreSQL', () => {
  const long = 'x'.repeat(100_000)
  test.each<[string, Failing]>([
    [
      'NUL in its message, its code and its headers',
      {
        error: Object.assign(new Error('a\0b'), {
          code: 'C\0D',
          stack: 'Error: a\0b\n    at f\0 (/x\0.js:1:1)',
        }),
        delivery: {
          headers: {
            'a\0': 'b\0',
            'tidegate-failures': '[{"attempt":1,"at":"\\u0000","code":"\\u0000","message":"\\u0000"}]',
          },
        },
      },
    ],
    [
      'half of a surrogate pair everywhere',
      {
        error: Object.assign(new Error('\ud800'), { code: '\udc00' }),
        delivery: {
          text: Buffer.from('{"id":"\\ud800","type":"\\udfff"}'),
          headers: { h: '\ud800' },
          properties: { messageId: '\ud800' },
          routingKey: '\ud800',
        },
      },
    ],
    ['a body of 16 MiB', { delivery: { text: Buffer.alloc(16_777_216, 7) } }],
    [
      'a body of every byte',
      { delivery: { text: Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)) } },
    ],
    [
      'properties that cannot be read',
      {
        delivery: {
          propertyBlock: Buffer.alloc(9_000, 255),
          propertyFault: 'there are properties that AMQP does not know',
        },
      },
    ],
    [
      'names that are too long for an index',
      {
        delivery: {
          text: Buffer.from(
            JSON.stringify({
              id: long.slice(0, 60_000),
              source: 'é'.repeat(2_000),
              partitionkey: 'ж'.repeat(300),
              sequence: 1e300,
            }),
          ),
        },
      },
    ],
    ['a message of 100,000 characters', { error: new Error(long) }],
    [
      'a story and times that somebody made up',
      {
        delivery: {
          exchange: '',
          headers: {
            'tidegate-first-failed-at': '9999-99-99T99:99:99.999Z',
            'tidegate-failures': '[[[[',
            'tidegate-original-queue': 1,
          },
        },
      },
    ],
    ['no error at all', { error: null }],
  ])('take a letter with %s, with its body as it came (G5)', async (_, failing) => {
    const letter = letterOf(failing)
    expect(await add([letter])).toEqual([{ letter: expect.any(Number) as number, isNew: true }])
    const [row] = await postgres.query<{ body: Buffer; fingerprint: string }>(
      'select body, fingerprint from tidegate.dead_letters',
    )
    expect(row?.body.equals(letter.body)).toBe(true)
    expect(row?.fingerprint).toMatch(/^[0-9a-f]{16}$/)
  })

  test('75 letters with 75 messages are one failure group, counted by opening and closing (G5)', async () => {
    const letters = Array.from({ length: 75 }, (_, index) => {
      const device = `sensor-${String(index).padStart(3, '0')}`
      const request = `${(0x8f3a + index * 7919).toString(16).slice(-4)}-${2120 + index}`
      return letterOf({
        event: eventOf(device),
        error: withMessage(`${device} has no site, request ${request}`),
        version: '1.4.0',
      })
    })
    await add(letters)
    await upkeep().fold()
    expect(await groupsNow()).toMatchObject([
      {
        letters: 75,
        open: 75,
        status: 'open',
        code: 'SITE_UNKNOWN',
        message: '<it> has no site, request #',
        first_version: '1.4.0',
      },
    ])
    await postgres.query(`update tidegate.dead_letters set state = 'resolved', closed_at = clock_timestamp()
      where letter in (select letter from tidegate.dead_letters limit 25)`)
    await postgres.query(`update tidegate.dead_letters set state = 'replaying' where state = 'open'`)
    expect(await upkeep().standing()).toMatchObject([{ group: 'g', open: 50 }])
    await Promise.all(Array.from({ length: 4 }, () => upkeep().fold()))
    expect(await groupsNow()).toMatchObject([{ letters: 75, open: 50 }])
    const bytes = letters.reduce((sum, { body }) => sum + body.length, 0)
    const [standing] = await upkeep().standing()
    expect(standing?.bytes).toBeLessThan(bytes)
    expect(standing?.oldestAgeMs).toBeGreaterThan(0)
  })

  test('a letter in a group that was resolved makes it regressed, and says between which versions', async () => {
    await add([letterOf({ event: eventOf(), version: '1' })])
    await upkeep().fold()
    await postgres.query(
      `update tidegate.failure_groups set status = 'resolved', resolved_version = '2', changed_at = clock_timestamp()`,
    )
    expect(await upkeep().fold()).toEqual([])
    await add([letterOf({ event: eventOf(), version: '3' })])
    expect(await upkeep().fold()).toMatchObject([
      { group: 'g', code: 'UNEXPECTED', resolvedVersion: '2', version: '3' },
    ])
    expect(await groupsNow()).toMatchObject([
      { letters: 2, status: 'regressed', first_version: '1', last_version: '3' },
    ])
    expect(await upkeep().fold()).toEqual([])
  })

  test('of too many kinds of failures what is beyond 1,000 is one group for each code, and beyond those one (G7)', async () => {
    await add(Array.from({ length: 1_000 }, (_, index) => failing('A', `kind ${word(index)}`)))
    await add(
      Array.from({ length: 50 }, (_, index) =>
        failing(`B${word(index).toUpperCase()}`, `more ${word(index)}`),
      ),
    )
    await add(
      Array.from({ length: 200 }, (_, index) =>
        failing(`C${word(index).toUpperCase()}`, `more ${word(index)}`),
      ),
    )
    await upkeep().fold()
    const groups = await groupsNow()
    expect(groups.length).toBeLessThanOrEqual(1_101)
    expect(groups.reduce((sum, { letters }) => sum + letters, 0)).toBe(1_250)
    expect(groups.filter(({ message }) => message === 'further failures with this code').length).toBe(100)
    expect(
      groups.filter(({ message }) => message.startsWith('further failures, with further codes')),
    ).toMatchObject([{ letters: 150 }])
  }, 30_000)

  test('rivals that add the same letters and the same causes wait for each other in one order, and lose none (G5)', async () => {
    const events = Array.from({ length: 40 }, () => eventOf())
    const letters = events.map((event, index) =>
      letterOf({ event, error: withMessage(`kind ${'abcdefgh'[index % 8]}q`) }),
    )
    const added = await Promise.all([letters, letters.toReversed(), letters, letters.toReversed()].map(add))
    expect(added.flat().filter(({ isNew }) => isNew)).toHaveLength(40)
    await upkeep().fold()
    expect((await groupsNow()).reduce((sum, { letters: count }) => sum + count, 0)).toBe(40)
  })

  test('of a letter that a lane has in hand it is known at once that it is there, and its handler is not waited for (G5, G7)', async () => {
    const [event, other] = [eventOf(), eventOf()]
    const [held, free] = await add([letterOf({ event }), letterOf({ event: other })])
    const storage = postgresStorage(postgres)
    await storage.transaction(async (tx) => {
      await tx.query('select from tidegate.dead_letters where letter = $1 for update', [held?.letter])
      const numbers = await storage.transaction(
        (tx) => postgresDeadLetters(tx).failedAgain([letterOf({ event }), letterOf({ event: other })]),
        never,
      )
      expect(numbers).toEqual([held?.letter, free?.letter])
    }, never)
  })

  test('rivals that open letters again in other orders wait for each other in one (G5)', async () => {
    const events = Array.from({ length: 200 }, () => eventOf())
    const added = await add(events.map((event) => letterOf({ event })))
    await postgres.query(`update tidegate.dead_letters set state = 'replaying', replay = 999`)
    const again = added.map(({ letter = 0 }, index) => ({
      ...letterOf({ event: events[index] }),
      sent: { letter, replay: 999 },
    }))
    await Promise.all(Array.from({ length: 8 }, (_, n) => add(n % 2 === 0 ? again : again.toReversed())))
    expect(
      await postgres.query(
        `select state, replays, count(*)::int as n from tidegate.dead_letters group by 1, 2`,
      ),
    ).toEqual([{ state: 'open', replays: 1, n: 200 }])
  })

  test('a cause that gets a letter while it is being forgotten stays (G5)', async () => {
    await add([rareLetter()])
    await upkeep().fold()
    await postgres.query('delete from tidegate.dead_letters')
    await upkeep().fold()
    await postgres.query(`update tidegate.failure_groups set last_seen = now() - interval '91 d'`)
    let forgetting: Promise<unknown> = Promise.resolve()
    await postgresStorage(postgres).transaction(async (tx) => {
      await postgresDeadLetters(tx).add([rareLetter()])
      forgetting = upkeep().age(90 * 86_400_000, never)
      await vi.waitFor(async () => {
        const waiting = await postgres.query(
          `select from pg_stat_activity where wait_event_type = 'Lock' and query like '%failure_groups%for update%'
             and datname = current_database()`,
        )
        expect(waiting).toHaveLength(1)
      })
    }, never)
    await forgetting
    await upkeep().fold()
    expect(await groupsNow()).toMatchObject([{ letters: 2, open: 1 }])
  })

  test('replays that have not ended are counted together, with what is not folded into them yet', async () => {
    await postgres.query('truncate tidegate.replays cascade')
    expect(await upkeep().replays()).toEqual(noReplays)
    await postgres.query(
      `insert into tidegate.deeds (deed, actor, roles, verb, request) values ('00000000-0000-4000-8000-000000000001', 'ada', '{}', 'replay', '{}')`,
    )
    await postgres.query(
      `insert into tidegate.replays (deed, filter, state, through, sent, resolved, failed, started_at, moved_at, ended_at)
       select '00000000-0000-4000-8000-000000000001', '{}', 'running', 1, 10, 4, 1, now() - n * interval '1 h', now() - interval '1 min', ended
       from (values (1, null), (2, null), (3, now())) as r (n, ended)`,
    )
    await postgres.query(
      `insert into tidegate.replay_counts select min(replay), 2, 1 from tidegate.replays union all select max(replay), 100, 100 from tidegate.replays`,
    )
    const found = await upkeep().replays()
    expect(found).toMatchObject({ replays: 2, sent: 20, resolved: 10, failed: 3 })
    expect(Math.round(found.oldestAgeMs / 60_000)).toBe(120)
    expect(Math.round(found.stillMs / 60_000)).toBe(1)
  })

  test('closed letters are forgotten when their time is over, then causes that have none, and open ones never', async () => {
    await add([
      letterOf({ event: eventOf(), error: withMessage('old') }),
      letterOf({ event: eventOf(), error: withMessage('now') }),
    ])
    await postgres.query(
      `update tidegate.dead_letters set state = 'resolved', closed_at = clock_timestamp() - interval '91 d' where message = 'old'`,
    )
    await upkeep().fold()
    await postgres.query(`update tidegate.failure_groups set last_seen = last_seen - interval '91 d'`)
    expect(await upkeep().age(90 * 86_400_000, never)).toBe(1)
    expect(await groupsNow()).toMatchObject([{ message: 'now', letters: 1, open: 1 }])
    expect(await postgres.query('select message from tidegate.dead_letters')).toEqual([{ message: 'now' }])
  })
})
