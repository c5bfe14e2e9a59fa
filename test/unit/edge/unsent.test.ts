import { expect, test } from 'vitest'
import { type Delivery, Unsent } from '../../../edge/mqtt/subscribers/unsent.ts'
import { FakeClock } from '../../support/fakes/clock.ts'

interface Subscriber {
  clock: FakeClock
  unsent: Unsent<Delivery>
  socket: { full: boolean }
  /** Counters, in the order in which they were handed on. */
  handedOn: number[]
  /** The socket takes the oldest messages that it was handed. */
  drain: (count: number) => void
  /** Counters of those whose publishers were told. */
  delivered: number[]
  publish: (counter: number, qos?: 0 | 1, bytes?: number) => void
  /** How often the publisher is to be resumed before it is read again. */
  pauses: () => number
  /** QoS of each message that was not sent. */
  lost: number[]
}

function subscriber(): Subscriber {
  const clock = new FakeClock()
  const socket = { full: false }
  const handedOn: number[] = []
  const onTheWay: (() => void)[] = []
  const delivered: number[] = []
  const lost: number[] = []
  let pauses = 0
  const unsent = new Unsent<Delivery>({
    clock,
    send({ counter }, sent) {
      handedOn.push(counter)
      onTheWay.push(sent)
    },
    isSocketFull: () => socket.full,
    pauseOf: () => ({ pause: () => (pauses += 1), resume: () => (pauses -= 1) }),
    onUnsent: ({ qos }) => lost.push(qos),
  })
  return {
    clock,
    unsent,
    socket,
    handedOn,
    drain: (count) => onTheWay.splice(0, count).forEach((sent) => sent()),
    delivered,
    publish: (counter, qos = 0, bytes = 10) =>
      unsent.deliver({ counter, qos, bytes, delivered: () => delivered.push(counter) }),
    pauses: () => pauses,
    lost,
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const half = 1 << 19

test('beyond what may wait for a subscriber its publishers are not read, until it has drained (G7)', () => {
  const { unsent, socket, handedOn, drain, publish, pauses } = subscriber()
  unsent.begin()
  socket.full = true
  for (const counter of [1, 2]) publish(counter, 0, half)
  expect(pauses()).toBe(0)
  publish(3)
  expect(handedOn).toEqual([1, 2])
  expect(pauses()).toBe(1)
  drain(1)
  expect(handedOn).toEqual([1, 2, 3])
  expect(pauses()).toBe(0)
})

test('who waits in vain for a subscriber loses what is not sent, and so do the next, until it drains (G7)', async () => {
  const { clock, unsent, socket, handedOn, drain, publish, pauses, lost, delivered } = subscriber()
  unsent.begin()
  socket.full = true
  for (const counter of [1, 2]) publish(counter, 0, half)
  publish(3)
  publish(4, 1)
  await clock.advance(4999)
  expect(lost).toEqual([])
  await clock.advance(1)
  expect(lost).toEqual([0, 1])
  expect(pauses()).toBe(0)
  publish(5)
  expect(lost).toEqual([0, 1, 0])
  await turn()
  expect(delivered).toEqual([3, 4, 5])
  socket.full = false
  drain(2)
  publish(6)
  expect(handedOn).toEqual([1, 2, 6])
})

test('publishers do not wait for a socket that is full', async () => {
  const { unsent, drain, publish, delivered } = subscriber()
  unsent.begin()
  publish(1)
  unsent.onItsWay()
  await turn()
  expect(delivered).toEqual([1])
  drain(1)
  expect(delivered).toEqual([1])
})

test('until a session has begun what is published waits and no publisher does; what its queue held is not sent twice', async () => {
  const { unsent, handedOn, publish, pauses, delivered } = subscriber()
  publish(7, 1)
  publish(8, 1)
  unsent.noteSentFromQueue(7)
  await turn()
  expect(delivered).toEqual([7, 8])
  expect(pauses()).toBe(0)
  expect(handedOn).toEqual([])
  unsent.begin()
  expect(handedOn).toEqual([8])
})

test('what waited for a session that ends before it has begun is not told as lost: it stays queued', async () => {
  const { unsent, handedOn, publish, lost, pauses } = subscriber()
  for (let counter = 1; counter <= 1001; counter++) publish(counter, 1)
  expect(pauses()).toBe(1)
  unsent.end()
  await turn()
  expect([handedOn, lost, pauses()]).toEqual([[], [], 0])
})
