import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Deed, GroupKnown, HistorySelection, ReplayState } from '../../../cloud/deeds/deeds.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { deedOf, type DeedsBench, openDeedsBench } from '../../support/cloud/deeds-bench.ts'

const until = <T>(check: () => Promise<T>): Promise<T> => vi.waitFor(check, { timeout: 20_000, interval: 50 })

/** Leaves a row each time it runs, with what it was told; fails for good while there is a row for its device. */
const consumer = (group: string): string => `
export default {
  group: '${group}',
  types: ['com.acme.#'],
  async handle(event, { tx, replay }) {
    const broken = await tx.query('select from public.broken where device = $1', [event.partitionkey])
    if (broken.rowCount > 0) throw Object.assign(new Error('site unknown'), { code: 'SITE_UNKNOWN', retryable: false })
    await tx.query('insert into public.seen ("group", device, sequence, replay) values ($1, $2, $3, $4)',
      ['${group}', event.partitionkey, event.sequence, replay === undefined ? null : JSON.stringify(replay)])
  },
}`

interface Seen {
  group: string
  device: string
  sequence: number
  replay: { of: string; replay: number; generation?: string } | null
}

let bench: DeedsBench
let ledger: Ledger
/** What the instance that is asked knows of every group. */
let knownDedup: ReturnType<GroupKnown>
beforeEach(async () => {
  knownDedup = undefined
  bench = await openDeedsBench({ known: () => knownDedup })
  ledger = new Ledger()
  await bench.rows(`create table public.seen (n bigint generated always as identity, "group" text, device text, sequence bigint, replay json);
    grant select, insert on public.seen to public`)
  await bench.start({
    consumers: [
      'history',
      { module: bench.module(consumer('one')) },
      { module: bench.module(consumer('two')) },
    ],
    retry: { ladder: ['100ms'] },
  })
})
afterEach(() => bench.close())

const seen = (): Promise<Seen[]> =>
  bench.rows('select "group", device, sequence::float8 as sequence, replay from public.seen order by n')

async function publish(devices: readonly string[], each: number, type = 'com.acme.climate'): Promise<void> {
  const before = (await seen()).length
  const events = Array.from({ length: each }, () =>
    devices.map((device) => ledger.next(device, { type })),
  ).flat()
  await bench.publish(events)
  await until(async () => expect(await seen()).toHaveLength(before + 2 * events.length))
  await stored()
}

/** And behind the horizon, which transactions of other databases on the same server hold back. */
const stored = (): Promise<void> =>
  until(async () =>
    expect(await bench.rows(`select from tidegate.read_events() where gateway = 'gateway-1'`)).toHaveLength(
      ledger.sequence,
    ),
  )

const asked = (history: HistorySelection, more: object = {}): Deed<never> =>
  deedOf({ history, ...more } as never)

async function replay(history: HistorySelection, more: object = {}): Promise<ReplayState> {
  const started = await bench.deeds.replay(asked(history, more))
  return ended(started.replay)
}

async function sentOf(history: Omit<HistorySelection, 'group'>): Promise<number> {
  return (await replay({ group: 'one', ...history })).sent
}

function ended(number: number): Promise<ReplayState> {
  return until(async () => {
    const state = await bench.deeds.replayState(number)
    expect(state.endedAt).toBeDefined()
    return state
  })
}

const daysAgo = (days: number): string => new Date(Date.now() - days * 86_400_000).toISOString()

describe('a replay out of history', () => {
  test('has no effect where the events were processed, and goes to no other group; with a generation each has one more, once for each, in the order of history, and its handler is told (G4, G6)', async () => {
    await publish(['device-1', 'device-2'], 5)
    expect(await replay({ group: 'one' })).toMatchObject({
      state: 'done',
      sent: 10,
      resolved: 0,
      repeats: 10,
      failed: 0,
    })
    expect(await seen()).toHaveLength(20)
    const again = { generation: '2026-fix', ratePerSecond: 500 }
    expect(await replay({ group: 'one' }, again)).toMatchObject({ sent: 10, resolved: 10, repeats: 0 })
    const more = (await seen()).slice(20)
    expect(more.map(({ group }) => group)).toEqual(Array.from({ length: 10 }, () => 'one'))
    expect(more[0]?.replay).toMatchObject({ of: 'history', generation: '2026-fix' })
    for (const device of ['device-1', 'device-2']) {
      const sequences = more.filter((one) => one.device === device).map(({ sequence }) => sequence)
      expect(sequences).toEqual(sequences.toSorted((a, b) => a - b))
    }
    expect(await replay({ group: 'one' }, again)).toMatchObject({ sent: 10, resolved: 0, repeats: 10 })
    expect(await replay({ group: 'two' }, again)).toMatchObject({ sent: 10, resolved: 10, repeats: 0 })
    expect(await seen()).toHaveLength(40)
  })

  test('is of the types, the device, the times and the place that were asked for, and of what was stored when it was asked for', async () => {
    await publish(['device-1', 'device-2'], 2)
    await publish(['device-1'], 3, 'com.acme.power')
    const [third] = await bench.rows<{ cursor: string }>(
      `select cursor from tidegate.read_events() where gateway = 'gateway-1' order by position offset 2 limit 1`,
    )
    const atMs = Date.parse('2026-01-01T00:00:00.000Z')
    const sent = await Promise.all([
      sentOf({ types: ['com.acme.power'] }),
      sentOf({ device: 'device-1' }),
      sentOf({ device: 'device-1', types: ['com.acme.climate', 'com.acme.other'] }),
      sentOf({ after: third?.cursor ?? '' }),
      sentOf({ fromMs: atMs, untilMs: atMs + 1 }),
      sentOf({ fromMs: atMs + 1 }),
    ])
    expect(sent).toEqual([3, 5, 2, 4, 7, 0])
    expect(await bench.deeds.previewHistory({ group: 'one', device: 'device-1' })).toEqual({
      group: 'one',
      events: 5,
      isWhole: true,
      byType: [
        { type: 'com.acme.power', events: 3 },
        { type: 'com.acme.climate', events: 2 },
      ],
      keepsInbox: null,
    })
  })

  test('that is stopped and goes on has sent each once, whatever was stored meanwhile (G4, G5)', async () => {
    await publish(['device-1', 'device-2', 'device-3'], 10)
    const { replay: number, total } = await bench.deeds.replay(
      asked({ group: 'one' }, { generation: 'stopped', ratePerSecond: 20 }),
    )
    expect(total).toBeGreaterThanOrEqual(30)
    await until(async () => expect((await bench.deeds.replayState(number)).sent).toBeGreaterThan(0))
    await bench.deeds.stopReplay(deedOf({ replay: number }))
    const stopped = await ended(number)
    expect(stopped).toMatchObject({ state: 'stopped' })
    expect(stopped.sent).toBeLessThan(30)
    await publish(['device-1'], 1)
    await bench.deeds.resumeReplay(deedOf({ replay: number }))
    await until(async () =>
      expect(await bench.deeds.replayState(number)).toMatchObject({ state: 'done', sent: 30, resolved: 30 }),
    )
    const ofIt = (await seen()).filter((one) => one.replay !== null)
    expect(ofIt).toHaveLength(30)
    expect(new Set(ofIt.map(({ sequence }) => sequence)).size).toBe(30)
  })

  test('whose events fail has letters that keep the generation: mended and replayed, each has its effect once in it (G4, G5)', async () => {
    await publish(['device-1'], 2)
    await bench.breakDevice('device-1')
    const history = { group: 'one' }
    expect(await replay(history, { generation: 'g' })).toMatchObject({ sent: 2, failed: 2, resolved: 0 })
    expect((await bench.letterStates()).map(({ state }) => state)).toEqual(['open', 'open'])
    await bench.mendDevice('device-1')
    const { replay: number } = await bench.deeds.replay(deedOf({ filter: { group: 'one' } }))
    expect(await ended(number)).toMatchObject({ resolved: 2, failed: 0 })
    const ofIt = (await seen()).filter((one) => one.replay !== null)
    expect(ofIt.map((one) => one.replay)).toEqual([
      { of: 'letter', replay: number, generation: 'g' },
      { of: 'letter', replay: number, generation: 'g' },
    ])
    expect(await replay(history, { generation: 'g' })).toMatchObject({ resolved: 0, repeats: 2 })
  })

  test('is refused to history, to a group that nobody has, and where the inbox has forgotten what the group has processed, unless a generation says that it is wanted (G4)', async () => {
    await publish(['device-1'], 1)
    const codeOf = async (history: HistorySelection): Promise<unknown> =>
      bench.deeds.replay(asked(history)).catch((error: unknown) => (error as { code: string }).code)
    expect(await codeOf({ group: 'history' })).toBe('REPLAY_TO_HISTORY')
    expect(await codeOf({ group: 'three' })).toBe('GROUP_UNKNOWN')
    expect(await codeOf({ group: 'one', after: '1.2' })).toBe('CURSOR_INVALID')
    // As a month later: weeks of before are gone, and what was in them is not known any more.
    await bench.rows(`update tidegate.inbox_groups set since = now() - interval '40 days'`)
    await bench.rows(`update tidegate.inbox_weeks set from_time = now() where from_time < now()`)
    expect(await codeOf({ group: 'one' })).toBe('REPLAY_BEYOND_INBOX')
  })

  test('is refused a generation where the group keeps no inbox, and leaves nothing; without one it starts (G4)', async () => {
    knownDedup = 'own'
    await expect(
      bench.deeds.replay(asked({ group: 'one' }, { generation: '2026-fix' })),
    ).rejects.toMatchObject({ code: 'GENERATION_INAPPLICABLE' })
    expect(await bench.rows('select from tidegate.replays')).toEqual([])
    const { replay: number } = await bench.deeds.replay(asked({ group: 'one' }))
    expect(await ended(number)).toMatchObject({ state: 'done' })
  })

  test('stops at what was recorded before the inbox remembers: its group may have had it long before history stored it (G4)', async () => {
    const recorded = async (recordedtime: string): Promise<void> => {
      await bench.publish([ledger.next('device-1', { recordedtime })])
      await stored()
    }
    await recorded(daysAgo(0))
    await recorded(daysAgo(10))
    await until(async () => expect(await seen()).toHaveLength(4))
    await bench.rows(`update tidegate.inbox_groups set since = now() - interval '40 days'`)
    await bench.rows(
      `update tidegate.inbox_weeks set from_time = now() - interval '3 days' where from_time < now()`,
    )
    const beyond = await replay({ group: 'one' })
    expect(beyond).toMatchObject({ state: 'stopped', sent: 0 })
    expect(beyond.reason).toMatch(/^REPLAY_BEYOND_INBOX/)
  })
})
