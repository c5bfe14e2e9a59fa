import { randomUUID } from 'node:crypto'
import { expect, vi } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { cloudLedger, rejectedType } from '../../../src/contract/event.ts'
import { formerDeadQueue, partitionOf } from '../../../src/contract/wire.ts'
import { type Encoded, Ledger } from './cloud-events.ts'
import type { Standing, SteppedWorld } from './stepped-world.ts'

/** Something that the cloud does in several steps, any of which may be its last. */
export interface Mechanism {
  name: string
  /** Those of its steps that no other mechanism has; absent: all. */
  own?: RegExp
  /** Puts everything there that it needs, while the cloud runs; anew for each kill. */
  prepare: (world: SteppedWorld) => Promise<Doing>
}

export interface Doing {
  /** Sets it going. Rejects if the cloud ends under it. */
  act: () => Promise<void>
  /** What a person does who has had no answer: asks again, under the same key. */
  askAgain?: () => Promise<void>
  /** Throws while not everything is as it must be in the end. */
  settled: () => Promise<void>
}

const until = (check: () => Promise<void>): Promise<void> =>
  vi.waitFor(check, { interval: 25, timeout: 20_000 })

let types = 0

/** So many events of a device, of a type that no other has: its letters have a cause and a filter of their own. */
function eventsOf(
  ledger: Ledger,
  device: string,
  count: number,
  data: object = {},
  kind: 'acme' | 'ordered' = 'acme',
): { type: string; events: Encoded[] } {
  const type = `com.${kind}.steps-${++types}`
  return { type, events: Array.from({ length: count }, () => ledger.next(device, { type, data })) }
}

const all = (events: readonly Encoded[], standing: Omit<Standing, 'id'>): Standing[] =>
  events.map(({ event }) => ({ id: event.id, ...standing }))

async function expectStanding(
  world: SteppedWorld,
  events: readonly Encoded[],
  standing: Omit<Standing, 'id'>,
): Promise<void> {
  expect(await world.standing(events.map(({ event }) => event))).toEqual(all(events, standing))
}

interface ReplayAnswer {
  state: string
  total: number
  sent: number
  resolved: number
  failed: number
  returned: number
}

/** A replay of all letters of a type: asked for as often as one likes, it is one. */
function replayOf({ client }: SteppedWorld, type: string, more: object = {}) {
  const key = randomUUID()
  const stopKey = randomUUID()
  const filter = { group: 'effects', type }
  let replay = 0
  return {
    start: async (): Promise<void> => {
      const { body } = await client.post<{ replay: number }>(
        '/v1/replays',
        { filter, reason: 'mended', ...more },
        { key },
      )
      replay = body.replay
    },
    stop: async (): Promise<void> =>
      void (await client.post(`/v1/replays/${replay}/stop`, { reason: 'enough' }, { key: stopKey })),
    state: async (): Promise<ReplayAnswer> => (await client.get<ReplayAnswer>(`/v1/replays/${replay}`)).body,
  }
}

/** Letters of a device; afterwards it is mended, or not. */
async function lettersOf(
  world: SteppedWorld,
  device: string,
  { count, mended }: { count: number; mended: boolean },
): Promise<{ type: string; events: Encoded[] }> {
  await world.setBroken(device, true)
  const { type, events } = eventsOf(world.ledger, device, count)
  await world.bench.publish(events)
  await until(() => expectStanding(world, events, { effects: 0, letters: ['open'] }))
  if (mended) await world.setBroken(device, false)
  return { type, events }
}

/** Of the same partition whenever it is asked for: steps are known by the names of their queues. */
function newDevice(partitions: number): string {
  for (let n = 0; ; n++) {
    const device = `parked-${types}-${n}`
    if (partitionOf(device, partitions) === 1) return device
  }
}

/** Events of a device of which the first fails; `settled` if that stands so in the end, the others are done and nothing waits. */
function waitingBehind(
  world: SteppedWorld,
  data: object,
): { device: string; events: Encoded[]; settled: (first: Omit<Standing, 'id'>) => Promise<void> } {
  const device = newDevice(world.bench.partitions)
  const first = eventsOf(world.ledger, device, 1, data, 'ordered').events
  const rest = eventsOf(world.ledger, device, 2, {}, 'ordered').events
  return {
    device,
    events: [...first, ...rest],
    async settled(standing) {
      await expectStanding(world, first, standing)
      await expectStanding(world, rest, { effects: 1, letters: [] })
      expect(await world.parked()).toEqual([])
    },
  }
}

/** Its queue is all that is left of it: history has had its events long since. */
const formerLedger = new Ledger('gateway-9')

/** What is to be killed at each of its steps: whatever has steps of its own is another entry. */
export const mechanisms: readonly Mechanism[] = [
  {
    name: 'failing onto a rung, and coming back',
    async prepare(world) {
      const { events } = eventsOf(world.ledger, 'rung-1', 2, { failUntil: 1 })
      return {
        act: () => world.bench.publish(events),
        settled: () => expectStanding(world, events, { effects: 1, letters: [] }),
      }
    },
  },
  {
    name: 'parking a device, and trying it until it goes on',
    own: /parking-|ordered/,
    async prepare(world) {
      const { events, settled } = waitingBehind(world, { failUntil: 2 })
      return {
        act: () => world.bench.publish(events),
        settled: () => settled({ effects: 1, letters: [] }),
      }
    },
  },
  {
    name: 'skipping what a parked device is held by',
    own: /parking-(skip|remove|give-up)/,
    async prepare(world) {
      const { device, events, settled } = waitingBehind(world, { failUntil: 99 })
      await world.bench.publish(events)
      await until(async () => expect(await world.parked()).toEqual([{ device, state: 'held' }]))
      const key = randomUUID()
      const skip = async (): Promise<void> =>
        void (await world.client.post(
          '/v1/groups/ordered/parked/skip',
          { device, reason: 'it is odd' },
          { key },
        ))
      return { act: skip, askAgain: skip, settled: () => settled({ effects: 0, letters: ['open'] }) }
    },
  },
  {
    name: 'failing for good',
    async prepare(world) {
      await world.setBroken('letter-1', true)
      const { events } = eventsOf(world.ledger, 'letter-1', 2)
      return {
        act: () => world.bench.publish(events),
        settled: () => expectStanding(world, events, { effects: 0, letters: ['open'] }),
      }
    },
  },
  {
    name: 'draining letters of a former version',
    async prepare(world) {
      const type = `com.acme.steps-${++types}`
      const events = Array.from({ length: 2 }, () =>
        formerLedger.next('former-1', { id: `former-${formerLedger.sequence}`, type }),
      )
      return {
        act: () => world.writeFormerLetters(events),
        async settled() {
          await expectStanding(world, events, { effects: 0, letters: ['open'] })
          expect(await world.bench.depth(formerDeadQueue('effects'))).toBe(0)
        },
      }
    },
  },
  {
    name: 'replaying',
    async prepare(world) {
      const { type, events } = await lettersOf(world, 'replay-1', { count: 6, mended: true })
      const replay = replayOf(world, type)
      return {
        act: replay.start,
        askAgain: replay.start,
        async settled() {
          expect(await replay.state()).toMatchObject({ state: 'done', total: 6, sent: 6, resolved: 6 })
          await expectStanding(world, events, { effects: 1, letters: ['resolved'] })
        },
      }
    },
  },
  {
    name: 'replaying out of history',
    own: /page_next|replayed-count|generation|publish .*effects/,
    async prepare(world) {
      const { type, events } = eventsOf(world.ledger, 'history-1', 6)
      await world.bench.publish(events)
      await until(() => expectStanding(world, events, { effects: 1, letters: [] }))
      const ids = events.map(({ event }) => event.id)
      await until(async () =>
        expect(await world.bench.rows('select from tidegate.events where id = any($1)', [ids])).toHaveLength(
          6,
        ),
      )
      const key = randomUUID()
      let replay = 0
      const start = async (): Promise<void> => {
        const history = { group: 'effects', types: [type] }
        const request = { history, generation: type, reason: 'once more', ramp: [2] }
        replay = (await world.client.post<{ replay: number }>('/v1/replays', request, { key })).body.replay
      }
      return {
        act: start,
        askAgain: start,
        async settled() {
          const { body } = await world.client.get<ReplayAnswer>(`/v1/replays/${replay}`)
          expect(body).toMatchObject({ state: 'done', sent: 6, failed: 0 })
          const had = await world.bench.rows<{ id: string }>(
            'select id from public.again where id = any($1) order by n',
            [ids],
          )
          expect(had.map(({ id }) => id)).toEqual(ids)
        },
      }
    },
  },
  {
    name: 'replaying what fails again',
    own: /open-again|letters-/,
    async prepare(world) {
      const { type, events } = await lettersOf(world, 'again-1', { count: 4, mended: false })
      const replay = replayOf(world, type)
      return {
        act: replay.start,
        askAgain: replay.start,
        async settled() {
          expect(await replay.state()).toMatchObject({ state: 'done', total: 4, sent: 4, failed: 4 })
          await expectStanding(world, events, { effects: 0, letters: ['open'] })
        },
      }
    },
  },
  {
    name: 'stopping a replay, and going on with the rest',
    own: /stopping|tidegate\.deeds|set state = \$3|as left/,
    async prepare(world) {
      const { type, events } = await lettersOf(world, 'stop-1', { count: 8, mended: true })
      const [first, rest] = [replayOf(world, type, { ratePerSecond: 5 }), replayOf(world, type)]
      await first.start()
      await until(async () => expect((await first.state()).sent).toBeGreaterThan(0))
      async function goThrough(): Promise<void> {
        await first.stop()
        // Ends with the cloud that it asks.
        while (!/^(stopped|done)$/.test((await first.state()).state)) await systemClock.sleep(25)
        await rest.start()
      }
      return {
        act: goThrough,
        askAgain: goThrough,
        async settled() {
          const [stopped, done] = [await first.state(), await rest.state()]
          expect(done.state).toBe('done')
          expect(stopped.resolved + done.resolved).toBe(events.length)
          expect(stopped.sent + done.sent).toBe(events.length)
          await expectStanding(world, events, { effects: 1, letters: ['resolved'] })
        },
      }
    },
  },
  {
    name: 'admitting',
    async prepare(world) {
      const { bench, ledger, client } = world
      const id = `reading-${ledger.sequence}`
      const payload = { specversion: '1.0', id, type: 'com.acme.admitted', data: { temperature: 4 } }
      const rejected = ledger.next('admitted-1', {
        type: rejectedType,
        data: {
          code: 'SCHEMA_VIOLATION',
          message: 'data.temperature: must be number',
          payload: Buffer.from(JSON.stringify(payload)).toString('base64'),
          truncated: false,
        },
      })
      await bench.publish([rejected])
      const { gateway, epoch, sequence } = rejected.event
      const stored = 'select from tidegate.events where gateway = $1 and id = $2'
      await until(async () => expect(await bench.rows(stored, [gateway, rejected.event.id])).toHaveLength(1))
      const key = randomUUID()
      const path = `/v1/quarantine/${gateway}/${epoch}/${sequence}/admit`
      const admit = async (): Promise<void> =>
        void (await client.post(path, { reason: 'its schema was mended' }, { key }))
      return {
        act: admit,
        askAgain: admit,
        async settled() {
          expect(await world.standing([{ id }])).toEqual([{ id, effects: 1, letters: [] }])
          expect(await bench.rows(stored, [cloudLedger, id])).toHaveLength(1)
          expect(await bench.rows('select from tidegate.unpublished')).toEqual([])
        },
      }
    },
  },
]
