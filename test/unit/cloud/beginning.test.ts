import { describe, expect, test } from 'vitest'
import { type Beginning, startBeginning } from '../../../cloud/groups/beginning.ts'
import type { Beginnings } from '../../../cloud/groups/beginnings.ts'
import { systemClock } from '../../../src/clock.ts'
import { headers as names } from '../../../src/contract/wire.ts'
import { silentLog } from '../../../src/log.ts'

/** What is taken away, to see that the check notices. */
type Fault =
  | 'markers-not-waited-for'
  | 'bound-behind-the-end'
  | 'queues-read-at-once'
  | 'rungs-not-waited-for'
  | 'returns-read-when-bound'
  | 'rounds-confused'

/** Whatever it waits for comes in the next turn. */
let nowMs = 0
const leaseMs = 60_000
const clock = {
  ...systemClock,
  // Each look takes a while: what is not kept is lost.
  monotonicMs: (): number => (nowMs += leaseMs / 40),
  sleep: (_ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((done, failed) =>
      setImmediate(() => (signal?.aborted ? failed(signal.reason as Error) : done())),
    ),
}

/** mulberry32: a run is its seed. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/**
 * A gateway that numbers what it publishes, history behind a queue of its own, and a new group, in one partition. The worker is the cloud's
 * own; between any two of its steps the others go on, and it is killed now and then.
 */
class World {
  readonly #random: () => number
  readonly #fault: Fault | undefined
  readonly #total = 40
  #published = 0
  readonly #historyQueue: (number | string)[] = []
  readonly #stored: number[] = []
  readonly #groupQueue: number[] = []
  /** What history has to try again, where it does. */
  readonly #rung: { event: number; until: number }[] = []
  #steps = 0
  readonly #tried = new Set<number>()
  #isNotedBound = false
  #isRead = false
  #isBound = false
  readonly #settledRounds = new Set<string>()
  #cursor = 0
  #through: number | undefined
  #isOver = false
  readonly had: number[] = []
  /** How often somebody took it. */
  claims = 0
  ended: string | undefined
  #state: 'running' | 'stopping' = 'running'
  #life = 0
  #kills = 0
  readonly #killsMax: number
  readonly #hasRung: boolean

  constructor(seed: number, fault?: Fault, { killsMax = 5, hasRung = false } = {}) {
    this.#hasRung = hasRung
    this.#random = randomOf(seed)
    this.#fault = fault
    this.#killsMax = killsMax
  }

  async run(): Promise<void> {
    for (let step = 0; step < 12; step++) this.#step()
    while (!this.#isOver) {
      const beginning = await this.#live()
      beginning.stop()
    }
    while (this.#published < this.#total) this.#publish()
    for (const event of this.#groupQueue) this.#handle(event)
  }

  /** One life of an instance: until it is killed, or its queues may be read. */
  #live(): Promise<Beginning> {
    return new Promise((resolve) => {
      const life = ++this.#life
      this.#isRead = false
      /** What a dead process has asked for is not answered. */
      const step = async <T>(work: () => T): Promise<T> => {
        await new Promise(setImmediate)
        if (this.#life !== life) return new Promise<never>(() => {})
        for (let steps = Math.floor(this.#random() * 4); steps > 0; steps--) this.#step()
        const result = work()
        if (this.#kills >= this.#killsMax || this.#random() >= 0.15) return result
        this.#kills++
        this.#life++
        resolve(beginning)
        return new Promise<never>(() => {})
      }
      const beginning = startBeginning({
        group: 'newcomer',
        partitions: 1,
        beginnings: this.#beginnings(step),
        outbound: {
          send: (_target, { headers }) =>
            step(() => void this.#historyQueue.push(String(headers[names.generation]))),
        },
        bind: () => step(() => this.#bind()),
        returns: {
          read: () => (this.#isRead = true),
          leave: () => step(() => void (this.#isRead &&= this.#fault === 'returns-read-when-bound')),
          isRead: () => step(() => this.#isRead && this.#fault !== 'returns-read-when-bound'),
          waiting: () => step(() => 0),
          close: () => Promise.resolve(),
        },
        ladder: {
          isEmpty: () => step(() => this.#rung.length === 0 || this.#fault === 'rungs-not-waited-for'),
          lengthMs: Infinity,
        },
        isHeld: () => false,
        isCrowded: () => Promise.resolve(false),
        onDelivery: (delivery) =>
          void step(() => this.#handle(Number(delivery.text.toString()))).then(() => delivery.ack()),
        leaseMs,
        clock,
        log: silentLog,
      })
      void beginning.over.then(() => resolve(beginning))
    })
  }

  /** As a person does it. */
  stop(): void {
    this.#state = 'stopping'
  }

  #beginnings(step: <T>(work: () => T) => Promise<T>): Beginnings {
    return {
      standing: () => step(() => (this.#isOver ? 'over' : 'under-way')),
      note: () => step(() => {}),
      begin: () => step(() => {}),
      claim: () =>
        step(() =>
          this.#isOver || ++this.claims < 0
            ? 'over'
            : {
                replay: 1,
                claim: `c${this.#life}`,
                group: 'newcomer',
                cursor: String(this.#cursor),
                isBound: this.#isNotedBound,
                isClosed: this.#through !== undefined,
              },
        ),
      keep: () => step(() => this.#state),
      bound: () =>
        step(() => {
          this.#isNotedBound = true
          return this.#state
        }),
      read: (_claimed, after, max) => step(() => this.#read(Number(after), Math.min(max, 7))),
      passed: (_claimed, next) =>
        step(() => {
          this.#cursor = Number(next)
          return this.#state
        }),
      marker: () => step(() => ({ id: 'm', text: '{}' })),
      markersSettled: (_claimed, round) =>
        step(() => {
          const isSettled =
            this.#settledRounds.has(round) ||
            (this.#fault === 'rounds-confused' && this.#settledRounds.size > 0) ||
            this.#fault === 'markers-not-waited-for'
          return new Set(isSettled ? [0] : [])
        }),
      close: () =>
        step(() => {
          this.#through = this.#stored.length
          if (this.#fault === 'bound-behind-the-end') this.#isBound = true
        }),
      end: (_claimed, state) =>
        step(() => {
          this.ended = state
          this.#isOver = true
        }),
      release: () => Promise.resolve(),
    }
  }

  #read(after: number, max: number): Awaited<ReturnType<Beginnings['read']>> {
    const end = Math.min(after + max, this.#through ?? this.#stored.length)
    const events = this.#stored.slice(after, end).map((event) => ({
      id: String(event),
      gateway: 'g',
      type: 'a.b',
      partitionkey: 'd',
      text: String(event),
      earliestMs: 0,
    }))
    const more = end < (this.#through ?? this.#stored.length)
    return { events, next: String(end), more, exhausted: this.#through !== undefined && !more }
  }

  #bind(): void {
    if (this.#fault !== 'bound-behind-the-end') this.#isBound = true
  }

  #step(): void {
    const dice = this.#random()
    const [first] = this.#rung
    this.#steps++
    if (first && first.until <= this.#steps) this.#historyQueue.push((this.#rung.shift(), first.event))
    if (dice < 0.4) this.#publish()
    else if (dice < 0.8) this.#store()
    else if (this.#isRead && this.#groupQueue.length > 0) this.#handle(this.#groupQueue[0] as number)
    else if (this.#fault === 'queues-read-at-once' && this.#groupQueue.length > 0)
      this.#handle(this.#groupQueue[0] as number)
  }

  #publish(): void {
    if (this.#published >= this.#total) return
    const event = this.#published++
    this.#historyQueue.push(event)
    if (this.#isBound) this.#groupQueue.push(event)
  }

  #store(): void {
    const next = this.#historyQueue.shift()
    if (typeof next === 'string') this.#settledRounds.add(next)
    else if (next === undefined) return
    else if (this.#hasRung && !this.#tried.has(next) && this.#random() < 0.2)
      this.#rung.push({ event: next, until: this.#steps + 18 })
    else this.#stored.push(next)
    if (typeof next === 'number') this.#tried.add(next)
  }

  /** The inbox is in the transaction of the effect. */
  #handle(event: number): void {
    if (!this.had.includes(event)) this.had.push(event)
  }
}

const eventOf = (number: number) => ({
  id: String(number),
  gateway: 'g',
  type: 'a.b',
  partitionkey: 'd',
  text: String(number),
  earliestMs: 0,
})

const quietBeginnings: Beginnings = {
  standing: async () => 'under-way',
  note: async () => {},
  begin: async () => {},
  claim: async (group) => ({ replay: 1, claim: 'c', group, cursor: '0', isBound: false, isClosed: false }),
  keep: async () => 'running',
  read: async () => ({ events: [], next: '0', more: false, exhausted: true }),
  bound: async () => 'running',
  passed: async () => 'running',
  marker: async () => ({ id: 'm', text: '{}' }),
  markersSettled: async () => new Set([0]),
  close: async () => {},
  end: async () => {},
  release: async () => {},
}

const quietParts = {
  group: 'newcomer',
  partitions: 1,
  outbound: { send: async () => {} },
  bind: async () => {},
  returns: {
    read: () => {},
    leave: async () => {},
    isRead: async () => false,
    waiting: async () => 0,
    close: async () => {},
  },
  ladder: { isEmpty: async () => true, lengthMs: 0 },
  isHeld: () => false,
  isCrowded: () => Promise.resolve(false),
  onDelivery: () => {},
  leaseMs,
  clock,
  log: silentLog,
}

const seeds = 150
const inOrder = Array.from({ length: 40 }, (_, event) => event)

async function hadOf(seed: number, fault?: Fault, hasRung = false): Promise<number[]> {
  const world = new World(seed, fault, { hasRung })
  await world.run()
  return world.had
}

async function sortedOf(seed: number, fault?: Fault): Promise<number[]> {
  return (await hadOf(seed, fault, true)).toSorted((one, other) => one - other)
}

describe('a group that begins at the beginning of history', () => {
  test(`has each event once and in order, killed at every step in ${seeds} runs, while events come (G4, G5, G6)`, async () => {
    for (let seed = 1; seed <= seeds; seed++) expect(await hadOf(seed), `seed ${seed}`).toEqual(inOrder)
  })

  test(`has each event once, in ${seeds} runs, also those that history had to try again (G4, G5)`, async () => {
    for (let seed = 1; seed <= seeds; seed++) expect(await sortedOf(seed), `seed ${seed}`).toEqual(inOrder)
    for (const fault of ['rungs-not-waited-for', 'rounds-confused'] as const) {
      let noticed = false
      for (let seed = 1; seed <= 20 * seeds && !noticed; seed++)
        noticed = String(await sortedOf(seed, fault)) !== String(inOrder)
      expect(noticed, fault).toBe(true)
    }
  })

  test('comes to its end however many events come meanwhile, and sends markers again that nobody has settled (G7)', async () => {
    let reads = 0
    let markers = 0
    let isClosed = false
    const beginning = startBeginning({
      ...quietParts,
      outbound: { send: async () => void markers++ },
      onDelivery: (delivery) => void setImmediate(() => delivery.ack()),
      beginnings: {
        ...quietBeginnings,
        read: async (_claimed, after) => ({
          events: [eventOf(reads++)],
          next: String(Number(after) + 1),
          more: false,
          exhausted: isClosed,
        }),
        markersSettled: async () => new Set(markers > 3 ? [0] : []),
        close: async () => void (isClosed = true),
      },
    })
    await beginning.over
    expect(reads).toBeLessThan(5)
    expect(markers).toBe(4)
    await beginning.close()
  })

  test('takes no more of history while letters are full, more of its own come back than it can do, or little room is left behind devices that fail (G5, G7)', async () => {
    let reads = 0
    let held = 3
    let waiting = 20_000
    let crowded = 2
    const beginning = startBeginning({
      ...quietParts,
      isHeld: () => held-- > 0,
      isCrowded: async () => held < 0 && waiting > 4_000 && crowded-- > 0,
      returns: { ...quietParts.returns, waiting: async () => (waiting -= 4_000) },
      beginnings: {
        ...quietBeginnings,
        async read() {
          reads++
          expect([held < 0, waiting, crowded < 1]).toEqual([true, 4_000, true])
          return { events: [], next: '0', more: false, exhausted: true }
        },
      },
    })
    await beginning.over
    expect(reads).toBe(2)
    await beginning.close()
  })

  test('that a person stops ends with a page in hand that may not go on', async () => {
    let ended: string | undefined
    const beginning = startBeginning({
      ...quietParts,
      // As while its group is paused: nothing of it is settled.
      onDelivery: () => {},
      beginnings: {
        ...quietBeginnings,
        read: async () => ({ events: [eventOf(0)], next: '1', more: true, exhausted: false }),
        keep: async () => 'stopping',
        end: async (_claimed, state) => void (ended = state),
      },
    })
    await beginning.over
    expect(ended).toBe('stopped')
    await beginning.close()
  })

  test('is done by whoever took it, as long as that one keeps it', async () => {
    const world = new World(1, undefined, { killsMax: 0 })
    await world.run()
    expect([world.claims, world.ended, world.had]).toEqual([1, 'done', inOrder])
  })

  test('that a person stops goes on with what comes', async () => {
    const world = new World(1, undefined, { killsMax: 0 })
    world.stop()
    await world.run()
    expect(world.ended).toBe('stopped')
    expect(world.had.length).toBeLessThan(40)
    expect(world.had.at(-1)).toBe(39)
  })

  test.each<Fault>([
    'markers-not-waited-for',
    'bound-behind-the-end',
    'queues-read-at-once',
    'returns-read-when-bound',
  ])('has gaps, or another order, without one of its mechanisms: %s', async (fault) => {
    let noticed = false
    for (let seed = 1; seed <= seeds && !noticed; seed++)
      noticed = String(await hadOf(seed, fault)) !== String(inOrder)
    expect(noticed).toBe(true)
  })
})
