import { EventEmitter } from 'node:events'
import type { AsyncMessage } from 'rabbitmq-client'
import { expect, test } from 'vitest'
import type { AmqpConnection } from '../../../cloud/amqp/connection-rabbit.ts'
import { rabbitDeliveries } from '../../../cloud/amqp/deliveries-rabbit.ts'
import type { Sidings } from '../../../cloud/amqp/delivery.ts'
import { rabbitSidings } from '../../../cloud/amqp/sidings-rabbit.ts'
import type { Pipeline } from '../../../cloud/pipeline/pipeline.ts'
import { silentLog } from '../../../src/log.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { asChannel, FakeChannel } from '../../support/cloud/fake-channel.ts'
import { failure, setUp, writing } from '../../support/cloud/test-pipeline.ts'
import { settled } from '../../support/fakes/clock.ts'

/** A subscription to a queue that gets back what was not acknowledged on it. */
class QueueChannel extends EventEmitter {
  active = true
  readonly #queue: string[]
  #unacknowledged: string[] = []

  constructor(queue: string[]) {
    super()
    this.#queue = queue
  }

  async basicQos(): Promise<void> {}

  async basicConsume(_: object, take: (message: AsyncMessage) => void): Promise<void> {
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

/** One event that fails for good, on its way from its queue to a broker that may have an alarm. */
function open() {
  const text = new Ledger().next('device-1').text
  const queue = [text]
  const subscriptions: QueueChannel[] = []
  const consuming = {
    client: {
      async acquire() {
        subscriptions.push(new QueueChannel(queue))
        return subscriptions.at(-1)
      },
    },
  } as unknown as AmqpConnection
  const letters = new FakeChannel()
  let sent = ''
  letters.socket.on('data', (data: Buffer) => (sent += data.toString('latin1')))
  const state: { blocked: string | undefined } = { blocked: undefined }
  const publishing = {
    client: { acquire: async () => asChannel(letters) },
    get blocked() {
      return state.blocked
    },
  } as unknown as AmqpConnection
  const sidings: Sidings = { send: (...given) => made.send(...given), close: () => made.close() }
  const { clock, start } = setUp(
    writing({
      handle() {
        throw failure(false)
      },
    }),
    { pipeline: { sidings } },
  )
  const made = rabbitSidings(publishing, clock)
  const { pipeline } = start('a')
  const deliveries = rabbitDeliveries({
    connection: consuming,
    group: 'writer',
    partitions: 1,
    prefetch: 400,
    declare: async () => {},
    isHeld: () => pipeline.heldBy !== undefined || state.blocked !== undefined,
    clock,
    random: () => 0.5,
    log: silentLog,
  })
  deliveries.start((delivery) => pipeline.take(delivery))
  return { clock, pipeline, queue, subscriptions, letters, state, copies: () => sent.split(text).length - 1 }
}

const heldBy = ({ heldBy: outage }: Pipeline): string => `${outage?.code}: ${outage?.message}`

test.each([11, 25])(
  'a letter that waits in a broker’s alarm of %i minutes is there once, and the group says what holds it (G5)',
  async (minutes) => {
    const { clock, pipeline, queue, subscriptions, letters, state, copies } = open()
    state.blocked = 'low on memory'
    await settled()
    await clock.advance(5_000)
    expect(heldBy(pipeline)).toBe(
      'SIDING_UNAVAILABLE: writer.dead waits, for the broker takes nothing: low on memory',
    )
    await clock.advance(minutes * 60_000)
    state.blocked = undefined
    letters.ack(1)
    await settled()
    await clock.advance(60_000)
    expect(pipeline.heldBy).toBeUndefined()
    expect([copies(), subscriptions.length, queue.length, pipeline.inFlight]).toEqual([1, 1, 0, 0])
  },
)
