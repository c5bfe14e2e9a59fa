import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Rates, type Turn, Turns } from '../../../edge/mqtt/turns/turns.ts'

const costPerTurn = 100

interface Reader {
  turn: Turn
  /** What waits to be read, by what each costs. */
  todo: number[]
  /** Reads what it may of that, as a socket does that has become readable. */
  pull: () => void
}

/** Turns whose event loop is turned by hand: one entry a turn in `trace`, `<name>:<cost>` for each read. */
function bench(
  rates: Rates = {},
  ratesOf: Record<string, Rates> = {},
): {
  reader: (deviceId: string, todo?: number[], name?: string) => Reader
  /** Lets the event loop come around once; false: nobody waits for it. */
  comeAround: () => boolean
  run: (most?: number) => void
  trace: string[][]
  turns: Turns
  /** Lets time pass, and what is due then happen. */
  pass: (ms: number) => void
  held: string[]
} {
  const due: (() => void)[] = []
  let nowMs = 0
  let timers: { atMs: number; task: () => void }[] = []
  const clock = {
    monotonicMs: () => nowMs,
    after(delayMs: number, task: () => void) {
      timers.push({ atMs: nowMs + delayMs, task })
      return { cancel() {} }
    },
  }
  const held: string[] = []
  const turns = new Turns({
    costPerTurn,
    costPerPacketMin: 1,
    yieldTo: (next) => due.push(next),
    ratesOf: (deviceId) => ratesOf[deviceId] ?? rates,
    clock,
    onHeld: (deviceId) => held.push(deviceId),
  })
  const trace: string[][] = [[]]
  const comeAround = (): boolean => {
    expect(due.length).toBeLessThanOrEqual(1)
    const next = due.pop()
    trace.push([])
    next?.()
    return next !== undefined
  }
  return {
    turns,
    trace,
    held,
    comeAround,
    pass(ms) {
      nowMs += ms
      const now = timers.filter(({ atMs }) => atMs <= nowMs)
      timers = timers.filter(({ atMs }) => atMs > nowMs)
      for (const { task } of now) task()
    },
    run(most = 1000) {
      while (most-- > 0 && comeAround());
    },
    reader(deviceId, todo = [], name = deviceId) {
      const reader: Reader = {
        todo,
        pull() {
          while (reader.todo.length > 0 && reader.turn.left() > 0) {
            const cost = reader.todo.shift() ?? 0
            trace.at(-1)?.push(`${name}:${cost}`)
            reader.turn.spend({ cost, packets: 1, bytes: cost })
          }
        },
        turn: turns.enter(deviceId, () => reader.pull()),
      }
      return reader
    },
  }
}

const times = (count: number, cost: number): number[] => Array.from({ length: count }, () => cost)
const readsOf = (trace: string[][]): string[][] => trace.filter((turn) => turn.length > 0)

describe('whose turn it is to be read', () => {
  test('who is alone goes on as soon as the event loop has come around, a turn each time (G7)', () => {
    const { reader, trace, run } = bench()
    reader('a', times(4, 50)).pull()
    run()
    expect(readsOf(trace)).toEqual([
      ['a:50', 'a:50'],
      ['a:50', 'a:50'],
    ])
  })

  test('where nobody stands in line each comes with a whole turn when the event loop has come around (G7)', () => {
    const { reader, trace, comeAround } = bench()
    const alone = reader('a')
    for (let index = 0; index < 3; index += 1) {
      alone.todo.push(30, 30, 30)
      alone.pull()
      comeAround()
    }
    expect(readsOf(trace)).toEqual(Array.from({ length: 3 }, () => ['a:30', 'a:30', 'a:30']))
    expect(comeAround()).toBe(false)
  })

  test('each device in line has one turn in a round, over all its connections, and the loop comes around between two (G7)', () => {
    const { reader, trace, run } = bench()
    const greedy = [1, 2, 3].map((index) => reader('a', times(3, 100), `a${index}`))
    const other = reader('b', times(3, 100))
    for (const { pull } of [...greedy, other]) pull()
    run()
    expect(readsOf(trace)).toEqual([
      ['a1:100', 'b:100'],
      ['a1:100'],
      ['b:100'],
      ['a2:100'],
      ['b:100'],
      ['a3:100'],
      ['a1:100'],
      ['a2:100'],
      ['a3:100'],
      ['a2:100'],
      ['a3:100'],
    ])
  })

  test('who stands in line is not read before its turn, whatever comes for it meanwhile (G7)', () => {
    const { reader, trace, comeAround } = bench()
    const [first, second] = [reader('a', times(5, 100)), reader('b', times(5, 100))]
    first.pull()
    second.pull()
    comeAround()
    second.pull()
    expect(trace.at(-1)).toEqual(['a:100'])
    comeAround()
    expect(trace.at(-1)).toEqual(['b:100'])
  })

  test('who has little to say is read at once, whoever stands in line (G7)', () => {
    const { reader, trace, comeAround } = bench()
    for (const name of ['a', 'b', 'c']) reader(name, times(50, 100)).pull()
    comeAround()
    const quiet = reader('q')
    for (let index = 0; index < 20; index += 1) {
      comeAround()
      quiet.todo.push(5)
      quiet.pull()
      expect(trace.at(-1)).toHaveLength(2)
      expect(trace.at(-1)?.at(-1)).toBe('q:5')
    }
  })

  test('what is beyond a turn is owed: by who sends what is dear, and in nobody else’s turn (G7)', () => {
    const { reader, trace, run } = bench()
    for (const pull of [reader('a', times(2, 350)).pull, reader('b', times(6, 100)).pull]) pull()
    run()
    expect(trace.flat()).toEqual(['a:350', 'b:100', 'b:100', 'b:100', 'a:350', 'b:100', 'b:100', 'b:100'])
  })

  test('a turn that was not used is not saved up (G7)', () => {
    const { reader, trace, run } = bench()
    const idle = reader('a')
    const busy = reader('b', times(30, 100))
    busy.pull()
    run(10)
    idle.todo.push(...times(5, 100))
    idle.pull()
    run(2)
    expect(trace.flat().filter((read) => read.startsWith('a')).length).toBeLessThanOrEqual(2)
  })

  test('a device that comes again still owes what it owed, and one that owes nothing is forgotten (G7)', () => {
    const { reader, trace, comeAround, run, turns } = bench()
    const first = reader('a', [350])
    first.pull()
    first.turn.leave()
    first.turn.leave()
    const again = reader('a', [1])
    again.pull()
    const other = reader('b', times(6, 100))
    other.pull()
    run()
    expect(trace.flat()).toEqual(['a:350', 'b:100', 'b:100', 'b:100', 'a:1', 'b:100', 'b:100', 'b:100'])
    again.turn.leave()
    other.turn.leave()
    run()
    expect(turns.waiting).toBe(0)
    expect(comeAround()).toBe(false)
  })

  test('a connection that is over is pulled no more, nor given anything (G7)', () => {
    const { reader, trace, run } = bench()
    const gone = reader('a', times(9, 100), 'gone')
    const stays = reader('a', times(2, 100), 'stays')
    gone.pull()
    stays.pull()
    let pulls = 0
    gone.pull = () => (pulls += 1)
    gone.turn.leave()
    run()
    expect(pulls).toBe(0)
    expect(trace.flat()).toEqual(['gone:100', 'stays:100', 'stays:100'])
    expect(gone.turn.left()).toBe(0)
  })

  test('whatever comes, each that wants more has had as much as every other, to a turn and what is dearest; and all comes to its turn (G7)', () => {
    const cost = fc.integer({ min: 1, max: 250 })
    const wishes = fc.array(fc.array(fc.array(cost, { maxLength: 30 }), { minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 5,
    })
    fc.assert(
      fc.property(wishes, (devices) => {
        const { reader, trace, comeAround } = bench()
        const readers = devices.map((connections, index) =>
          connections.map((todo) => reader(`d${index}`, [...todo])),
        )
        for (const { pull } of readers.flat()) pull()
        const had = (index: number): number =>
          trace
            .flat()
            .filter((read) => read.startsWith(`d${index}:`))
            .reduce((sum, read) => sum + Number(read.split(':')[1]), 0)
        const wantsMore = (index: number): boolean =>
          readers[index]?.some(({ todo }) => todo.length > 0) ?? false
        while (comeAround()) {
          const backlogged = devices.map((_, index) => index).filter((index) => wantsMore(index))
          const shares = backlogged.map((index) => had(index))
          expect(Math.max(0, ...shares) - Math.min(...shares, Infinity)).toBeLessThanOrEqual(
            2 * costPerTurn + 250,
          )
        }
        expect(readers.flat().every(({ todo }) => todo.length === 0)).toBe(true)
      }),
    )
  })

  test('who is over a rate is held until it is not, on all its connections, and no other is (G7)', () => {
    const { reader, trace, run, pass, held } = bench({ packetsPerSecond: 2 })
    reader('a', times(3, 1), 'a1').pull()
    reader('a', [1], 'a2').pull()
    reader('b', [1]).pull()
    run()
    expect(trace.flat()).toEqual(['a1:1', 'a1:1', 'b:1'])
    expect(held).toEqual(['a'])
    pass(500)
    run()
    expect(trace.flat().slice(3)).toEqual(['a1:1'])
    pass(500)
    run()
    expect(trace.flat().slice(4)).toEqual(['a2:1'])
  })

  test('each device has the rate that is said of it, and no other’s (G7)', () => {
    const { reader, trace, run, pass, held } = bench(
      { packetsPerSecond: 2 },
      { b: { packetsPerSecond: 1 }, c: {} },
    )
    for (const device of ['a', 'b', 'c']) reader(device, times(4, 1)).pull()
    run()
    const readOf = (device: string): number => trace.flat().filter((one) => one.startsWith(device)).length
    expect(['a', 'b', 'c'].map(readOf)).toEqual([2, 1, 4])
    expect(held).toEqual(['a', 'b'])
    pass(1000)
    run()
    expect(['a', 'b', 'c'].map(readOf)).toEqual([4, 2, 4])
  })

  test('a rate of bytes is overdrawn by one packet and made up for, and is no less when the device comes again (G7)', () => {
    const { reader, trace, run, pass } = bench({ bytesPerSecond: 100 })
    const first = reader('a', [90, 90, 1])
    first.pull()
    run()
    expect(trace.flat()).toEqual(['a:90', 'a:90'])
    first.turn.leave()
    run()
    const again = reader('a', [1])
    again.pull()
    run()
    expect(trace.flat()).toHaveLength(2)
    pass(1000)
    run()
    expect(trace.flat().slice(2)).toEqual(['a:1'])
  })

  test('a device that is gone while it is over a rate is forgotten once it would not be any more (G7)', () => {
    const { reader, run, pass, turns } = bench({ bytesPerSecond: 100 })
    const one = reader('a', [90, 90, 1])
    one.pull()
    run()
    expect(turns.devices).toBe(1)
    one.turn.leave()
    pass(10_000)
    run()
    expect(turns.devices).toBe(0)
  })

  test('who connects more often than it may is told, and how often it does so is not forgotten with its last connection (G7)', () => {
    const { reader, run, pass } = bench({ connectsPerSecond: 2 })
    const tooOften = [1, 2, 3].map(() => {
      const { turn } = reader('a')
      turn.leave()
      run()
      return turn.isTooOften
    })
    expect(tooOften).toEqual([false, false, true])
    pass(501)
    expect(reader('a').turn.isTooOften).toBe(false)
    expect(reader('b').turn.isTooOften).toBe(false)
  })
})
