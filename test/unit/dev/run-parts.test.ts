import { beforeEach, expect, test } from 'vitest'
import { createBook, type Book } from '../../../dev/fleet/book.ts'
import { eventId } from '../../../dev/fleet/random.ts'
import { createPace } from '../../../dev/screen/pace.ts'
import { untilDrained } from '../../../dev/watch/drain.ts'
import { findMissing, gatherFindings } from '../../../dev/watch/findings.ts'
import type { HistoryReader, Identity } from '../../../dev/watch/history.ts'
import { snapshot } from '../../support/dev/snapshot.ts'
import { startWatching } from '../../../dev/watch/watching.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'

let clock: FakeClock
beforeEach(() => {
  clock = new FakeClock()
})

const never = new AbortController().signal

function bookOf(events: number): Book {
  const book = createBook()
  for (let n = 1; n <= events; n += 1) publish(book, n).acknowledged()
  return book
}

function publish(book: Book, n: number): { acknowledged(): void } {
  const message = { topic: '', payload: '', fate: 'stored' as const, n }
  book.published('sensor-001', message)
  return { acknowledged: () => book.acknowledged('sensor-001', message, 5) }
}

/** What has become of it so far. */
function follow(running: Promise<boolean>): { over: boolean; drained?: boolean } {
  const seen: { over: boolean; drained?: boolean } = { over: false }
  void running.then((drained) => Object.assign(seen, { over: true, drained }))
  return seen
}

test('a run is drained when every PUBACK has come, nothing is buffered, and the history holds what was acknowledged', async () => {
  const book = bookOf(2)
  const late = publish(book, 3)
  const system = { stored: 0, buffered: 3 }
  const told: string[] = []
  const seen = follow(
    untilDrained(
      {
        book,
        stored: () => Promise.resolve(system.stored),
        buffered: () => system.buffered,
        patienceMs: 1000,
        onWaiting: (what) => told.push(what),
        clock,
      },
      never,
    ),
  )
  await settled()
  await clock.advance(500)
  late.acknowledged()
  await clock.advance(500)
  system.stored = 3
  await clock.advance(500)
  Object.assign(system, { stored: 2, buffered: 0 })
  await clock.advance(500)
  expect(seen.over).toBe(false)
  system.stored = 3
  await clock.advance(100)
  expect(seen).toEqual({ over: true, drained: true })
  expect(told).toEqual(['3 events in the outbox'])
})

test('what does not move is waited for as long as patience lasts, and what moves for as long as it moves', async () => {
  let stored = 0
  const asked = { answers: true }
  const told: string[] = []
  const seen = follow(
    untilDrained(
      {
        book: bookOf(100),
        stored: () => (asked.answers ? Promise.resolve(stored) : Promise.reject(new Error('away'))),
        buffered: () => 0,
        patienceMs: 1000,
        onWaiting: (what) => told.push(what),
        clock,
      },
      never,
    ),
  )
  await settled()
  for (stored = 1; stored < 10; stored += 1) await clock.advance(900)
  expect(seen.over).toBe(false)
  asked.answers = false
  await clock.advance(100)
  expect(seen.over).toBe(false)
  await clock.advance(300)
  expect(seen).toEqual({ over: true, drained: false })
  expect(told).toEqual(['99 acknowledged events that are not in the history yet'])
})

test('every acknowledged event is looked up in the history, and those that are missing are named', async () => {
  const lost = [3, 20_001].map((n) => eventId('run', 'sensor-001', n))
  const asked: number[] = []
  const absent = (identities: readonly Identity[]): Promise<Identity[]> => {
    asked.push(identities.length)
    return Promise.resolve(identities.filter(({ id }) => lost.includes(id)))
  }
  const missing = await findMissing({ run: 'run', book: bookOf(20_001), history: { absent } })
  expect(asked).toEqual([20_000, 1])
  expect(missing).toEqual({ count: 2, first: lost.map((id) => ({ source: '/devices/sensor-001', id })) })
})

test('an event that is no CloudEvent is looked up by the ID that it has within its topic', async () => {
  const book = createBook()
  const meter = {
    payload: '',
    fate: 'stored' as const,
    topic: 'tele/meter/SENSOR',
    idWithinTopic: true as const,
  }
  book.acknowledged('meter', { ...meter, n: 1 }, 1)
  const { first } = await findMissing({ run: 'run', book, history: nothingStored })
  expect(first).toEqual([{ source: '/devices/meter', id: `tele/meter/SENSOR#${eventId('run', 'meter', 1)}` }])
})

test('who watches looks four times a second, asks the history on while the database is away, and stops when told', async () => {
  const shown: number[] = []
  let asked = 0
  const watching = startWatching({
    observer: {
      look: (elapsedMs) => Promise.resolve(snapshot(elapsedMs, { buffered: elapsedMs })),
      ask: () => {
        asked += 1
        return Promise.reject(new Error('the database is away'))
      },
      prove: () => Promise.resolve(undefined),
    },
    saboteur: { records: () => [{ kind: 'down', target: 'uplink', fromMs: 0, untilMs: 100 }] },
    startedAtMs: clock.now(),
    elapsedMs: () => clock.monotonicMs(),
    clock,
    proves: false,
    onSnapshot: ({ elapsedMs }) => shown.push(elapsedMs),
  })
  await settled()
  await clock.advance(1000)
  expect(shown).toEqual([0, 250, 500, 750, 1000])
  expect(asked).toBe(2)
  expect(watching.disturbances()).toEqual([{ fromMs: clock.now() - 2000, untilMs: clock.now() - 500 }])

  await clock.advance(100)
  await watching.lookAgain(never)
  expect(watching.last?.elapsedMs).toBe(1100)
  expect(watching.recording.samples.map(({ elapsedMs }) => elapsedMs)).toEqual(shown)
  expect(watching.recording.maxBuffered).toBe(1000)

  await watching.close()
  await clock.advance(1000)
  expect(shown).toHaveLength(5)
  expect(asked).toBe(2)
})

test('the view tells rates of the last two seconds, and of each second how deep the buffer was', () => {
  const pace = createPace()
  expect(pace.perSecond(({ stored }) => stored)).toBe(0)
  for (let elapsedMs = 0; elapsedMs <= 3000; elapsedMs += 250)
    pace.see(
      snapshot(elapsedMs, {
        stored: elapsedMs < 1000 ? 0 : elapsedMs - 1000,
        buffered: 1000 - (elapsedMs % 1000),
      }),
    )
  expect(pace.perSecond(({ stored }) => stored)).toBe(1000)
  expect(pace.depths).toEqual([1000, 1000, 1000, 1000])
  expect(pace.elapsedMs).toBe(3000)
})

const nothingStored = {
  absent: (identities: readonly Identity[]): Promise<Identity[]> => Promise.resolve([...identities]),
}

test('what the gateway signs after the outbox was seen empty is not left of the run; what never left is', async () => {
  const history = {
    rows: async () => ({ devices: 1, byType: {} }),
    storedTwice: async () => 0,
    absent: async () => [],
    latency: async () => ({}),
  } as unknown as HistoryReader
  const left = async (drained: boolean): Promise<number> =>
    (
      await gatherFindings({
        run: 'run',
        book: bookOf(2),
        history,
        filter: {} as never,
        disturbances: [],
        drained,
        last: snapshot(1000, { buffered: 1 }),
        letters: async () => 0,
        audit: async () => ({ kind: 'passed' }) as never,
      })
    ).leftInOutbox
  expect([await left(true), await left(false)]).toEqual([0, 1])
})
