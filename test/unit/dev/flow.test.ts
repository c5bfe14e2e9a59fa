import { describe, expect, test } from 'vitest'
import { createCatchUp } from '../../../dev/watch/catch-up.ts'
import { createFlow, waitingOf, type Flow } from '../../../dev/watch/flow.ts'
import { createBook } from '../../../dev/fleet/book.ts'
import { proveSoFar, type Verdict } from '../../../dev/watch/proof.ts'
import type { Identity } from '../../../dev/watch/history.ts'
import { snapshot } from '../../support/dev/snapshot.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'

const nothing = { sequence: undefined, buffered: undefined, undelivered: undefined }

/** As the view shows it. */
function shown(flow: Flow, reading: Parameters<Flow['see']>[0], acknowledged: number, others = 0) {
  const seen = snapshot(0, { acknowledged, ...flow.see(reading, { acknowledged, others }) })
  return { waiting: waitingOf(seen), forwarded: seen.forwarded }
}

describe('acknowledged = forwarded + buffered', () => {
  test('after a kill -9, whatever the gateway had not told before it', () => {
    const flow = createFlow({ sequence: 0, buffered: 0, undelivered: 0 })
    expect(shown(flow, { sequence: 3000, buffered: 0, undelivered: 0 }, 3000)).toEqual({
      waiting: 0,
      forwarded: 3000,
    })
    // 331 more were acknowledged and 322 of them forwarded before the kill, and nobody was told.
    expect(shown(flow, nothing, 3331)).toEqual({ waiting: 331, forwarded: 3000 })
    expect(shown(flow, { sequence: 3331, buffered: 9, undelivered: 0 }, 3331)).toEqual({
      waiting: 9,
      forwarded: 3322,
    })
    expect(shown(flow, { sequence: 3340, buffered: 0, undelivered: 0 }, 3340)).toEqual({
      waiting: 0,
      forwarded: 3340,
    })
  })

  test('while events have their place and not yet their PUBACK, and while somebody else publishes', () => {
    const flow = createFlow({ sequence: 100, buffered: 0, undelivered: 0 })
    expect(shown(flow, { sequence: 112, buffered: 3, undelivered: 0 }, 10)).toEqual({
      waiting: 1,
      forwarded: 9,
    })
    expect(shown(flow, { sequence: 113, buffered: 0, undelivered: 0 }, 12, 1)).toEqual({
      waiting: 0,
      forwarded: 12,
    })
    // Gone already, and its PUBACK is still on its way.
    expect(shown(flow, { sequence: 120, buffered: 0, undelivered: 0 }, 18, 1)).toEqual({
      waiting: 0,
      forwarded: 18,
    })
    // One of these is somebody else's.
    expect(shown(flow, { sequence: 125, buffered: 4, undelivered: 0 }, 24, 1)).toEqual({
      waiting: 4,
      forwarded: 20,
    })
  })

  test('with what an earlier run left, and what was given up on record', () => {
    const flow = createFlow({ sequence: 500, buffered: 40, undelivered: 7 })
    const seen = flow.see({ sequence: 600, buffered: 50, undelivered: 12 }, { acknowledged: 100, others: 0 })
    expect(seen).toEqual({ buffered: 50, forwarded: 85, leftBefore: 40, undelivered: 5 })
  })

  test('in a new epoch as well', () => {
    const flow = createFlow({ sequence: 1000, buffered: 0, undelivered: 0 })
    shown(flow, { sequence: 1200, buffered: 0, undelivered: 0 }, 200)
    expect(shown(flow, { sequence: 50, buffered: 20, undelivered: 0 }, 250)).toEqual({
      waiting: 20,
      forwarded: 230,
    })
  })

  test('but not when events are missing: then it shows', () => {
    const flow = createFlow({ sequence: 0, buffered: 0, undelivered: 0 })
    expect(shown(flow, { sequence: 90, buffered: 0, undelivered: 0 }, 100)).toEqual({
      waiting: 0,
      forwarded: 90,
    })
  })
})

describe('when the uplink is back', () => {
  const down = { link: { kind: 'down' as const }, uplinkUp: false }

  async function notesOf(verdict: Partial<Verdict> | undefined): Promise<string[]> {
    const notes: string[] = []
    const prove = (): Promise<Verdict | undefined> =>
      Promise.resolve(verdict && { events: 2000, missing: 0, first: [], intact: true, ...verdict })
    const catchUp = createCatchUp({ prove, onNote: (text) => notes.push(text) })
    const run = { published: 2000, acknowledged: 2000 }
    catchUp.see(snapshot(10_000, { ...run, ...down, buffered: 900, stored: 668 }))
    catchUp.see(snapshot(12_000, { ...run, ...down, buffered: 1332, stored: 668 }))
    catchUp.see(snapshot(12_250, { ...run, buffered: 1300, stored: 668 }))
    catchUp.see(snapshot(13_250, { ...run, buffered: 500, stored: 1100 }))
    expect(notes).toEqual([])
    catchUp.see(snapshot(14_350, { ...run, buffered: 0, stored: 1995 }))
    catchUp.see(snapshot(14_600, { ...run, buffered: 0, stored: 2000 }))
    await settled()
    return notes
  }

  test('it is told how much has caught up, how soon, and that none is lost', async () => {
    expect(await notesOf({})).toEqual(['caught up: 1,332 events in 2.1 s, none lost'])
  })

  test('nothing is claimed that could not be proven', async () => {
    expect(await notesOf(undefined)).toEqual(['caught up: 1,332 events in 2.1 s'])
    expect(await notesOf({ missing: 1 })).toEqual([
      'caught up: 1,332 events in 2.1 s; 1 acknowledged event is missing',
    ])
  })
})

const audit = () => Promise.resolve({ kind: 'passed' as const, detail: '', faults: 0, ledgers: [] })

test('a proof looks a second time for what may be on its way, and names what is missing after that', async () => {
  const clock = new FakeClock()
  const book = createBook()
  for (let n = 1; n <= 3; n += 1) {
    const message = { topic: '', payload: '', fate: 'stored' as const, n }
    book.published('sensor-001', message)
    book.acknowledged('sensor-001', message, 5)
  }
  const asked: number[] = []
  const absent = (identities: readonly Identity[]): Promise<Identity[]> => {
    asked.push(identities.length)
    return Promise.resolve(identities.slice(1))
  }
  const proving = proveSoFar(
    { run: 'run', book, history: { absent }, audit, clock },
    new AbortController().signal,
  )
  await settled()
  await clock.advance(2000)
  expect(await proving).toMatchObject({ events: 3, missing: 1, intact: true })
  expect(asked).toEqual([3, 2])
})
