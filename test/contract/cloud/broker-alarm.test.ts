import { EventEmitter } from 'node:events'
import type { AsyncMessage } from 'rabbitmq-client'
import { describe, expect, test } from 'vitest'
import type { AmqpConnection } from '../../../cloud/amqp/connection-rabbit.ts'
import { rabbitSidings } from '../../../cloud/amqp/sidings-rabbit.ts'
import type { Database } from '../../../cloud/database/database-postgres.ts'
import { type Group, startGroup } from '../../../cloud/groups/group.ts'
import { formerPartitionQueues, partitionQueue } from '../../../src/contract/wire.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { asChannel, FakeChannel } from '../../support/cloud/fake-channel.ts'
import { failure, idleGuard, setUp, writing } from '../../support/cloud/test-pipeline.ts'
import { settled } from '../../support/fakes/clock.ts'

/** What queues hold, by their names; a queue gets back what was not acknowledged on a subscription to it. */
type Queues = Map<string, string[]>

class Subscribing extends EventEmitter {
  active = true
  readonly #queues: Queues
  #queue: string[] = []
  #unacknowledged: string[] = []

  constructor(queues: Queues) {
    super()
    this.#queues = queues
  }

  async basicQos(): Promise<void> {}

  async basicConsume({ queue }: { queue: string }, take: (message: AsyncMessage) => void): Promise<void> {
    this.#queue = this.#queues.get(queue) ?? []
    this.#unacknowledged = this.#queue.splice(0)
    for (const [at, text] of this.#unacknowledged.entries())
      take({
        deliveryTag: at + 1,
        body: Buffer.from(text),
        exchange: '',
        routingKey: 'a',
      } as unknown as AsyncMessage)
  }

  basicAck(): void {
    this.#unacknowledged = []
  }

  async close(): Promise<void> {
    this.active = false
    this.#queue.push(...this.#unacknowledged)
    this.emit('close')
  }
}

/** Declares what a group asks for, or takes its letters. */
class Publishing extends FakeChannel {
  readonly #queues: Queues

  constructor(queues: Queues) {
    super()
    this.#queues = queues
  }

  async exchangeDeclare(): Promise<void> {}
  async queueBind(): Promise<void> {}
  async queueUnbind(): Promise<void> {}

  async queueDeclare({ queue, passive }: { queue: string; passive?: boolean }): Promise<object> {
    if (passive && !this.#queues.has(queue))
      throw Object.assign(new Error(`no queue '${queue}' in vhost '/'`), { code: 'NOT_FOUND' })
    return { messageCount: 0, consumerCount: 0 }
  }
}

const today = partitionQueue('writer', 0)
const [former = ''] = formerPartitionQueues('writer', 0)

/** A group with one event that fails, on its way from its queue to a broker that may have an alarm. */
async function open(queue: string) {
  const { text } = new Ledger().next('device-1')
  const queues: Queues = new Map([[queue, [text]]])
  let subscriptions = 0
  const consuming = {
    client: {
      async acquire() {
        subscriptions += 1
        return new Subscribing(queues)
      },
    },
  } as unknown as AmqpConnection
  let letters: FakeChannel | undefined
  let sent = ''
  const state: { blocked: string | undefined } = { blocked: undefined }
  const publishing = {
    client: {
      async acquire() {
        const channel = new Publishing(queues)
        channel.socket.on('data', (data: Buffer) => (sent += data.toString('latin1')))
        channel.onConfirmSelect = () => (letters = channel)
        return asChannel(channel)
      },
    },
    get blocked() {
      return state.blocked
    },
  } as unknown as AmqpConnection
  const { clock, storage, options } = setUp(
    writing({
      handle() {
        throw failure(true)
      },
    }),
  )
  const group = await startGroup({
    ...options('a'),
    sidings: rabbitSidings(publishing, clock),
    guard: idleGuard('writer', clock),
    mirror: false,
    partitions: 1,
    prefetch: 400,
    goneAfterMs: 15_000,
    stallAfterMs: 60_000,
    stopGraceMs: 1_000,
    consuming,
    publishing,
    // Of former queues it says that they were drained: they are read beside those of today.
    database: { query: async () => [{ queue: former }] } as unknown as Database,
    signal: new AbortController().signal,
  })
  return {
    clock,
    storage,
    group,
    state,
    subscriptions: () => subscriptions,
    answer: () => letters?.ack(1),
    copies: () => sent.split(text).length - 1,
    left: () => queues.get(queue)?.length,
  }
}

const heldBy = ({ heldBy: outage }: Group): string => `${outage?.code}: ${outage?.message}`
const alarm = 'SIDING_UNAVAILABLE: writer.retry.5s waits, for the broker takes nothing: low on memory'

describe.each([
  ['a queue of today', today],
  ['a queue of a former version', former],
])('an event from %s', (_, queue) => {
  test.each([11, 25])(
    'whose letter waits in a broker’s alarm of %i minutes has one, and the group says what holds it (G5)',
    async (minutes) => {
      const { clock, group, state, subscriptions, answer, copies, left } = await open(queue)
      state.blocked = 'low on memory'
      await settled()
      await clock.advance(5_000)
      expect(heldBy(group)).toBe(alarm)
      const before = subscriptions()
      await clock.advance(minutes * 60_000)
      state.blocked = undefined
      answer()
      await settled()
      await clock.advance(60_000)
      expect(group.heldBy).toBeUndefined()
      expect([copies(), subscriptions() - before, left(), group.inFlight]).toEqual([1, 0, 0, 0])
    },
  )

  test('that waits for a database is given back to nobody, however long it takes (G5)', async () => {
    const { clock, storage, group, subscriptions, answer, copies, left } = await open(queue)
    storage.down = true
    await settled()
    await clock.advance(5_000)
    expect(group.heldBy?.code).toBe('DATABASE_UNREACHABLE')
    const before = subscriptions()
    await clock.advance(25 * 60_000)
    storage.down = false
    await clock.advance(10_000)
    answer()
    await settled()
    expect([copies(), subscriptions() - before, left(), group.inFlight]).toEqual([1, 0, 0, 0])
  })
})

test('a partition is not given up to share it while a letter of it waits in a broker’s alarm (G5)', async () => {
  const { clock, group, state, subscriptions, answer, copies, left } = await open(today)
  state.blocked = 'low on memory'
  await settled()
  await clock.advance(5_000)
  expect(heldBy(group)).toBe(alarm)
  expect(group.deliveries.stepBack(0)).toBe(false)
  await clock.advance(60_000)
  state.blocked = undefined
  answer()
  await settled()
  await clock.advance(10_000)
  expect([copies(), subscriptions(), left(), group.inFlight]).toEqual([1, 1, 0, 0])
  expect(group.deliveries.stepBack(0)).toBe(true)
  await settled()
  expect(subscriptions()).toBe(2)
})
