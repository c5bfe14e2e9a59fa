import type { AsyncMessage } from 'rabbitmq-client'
import type { Clock, Random } from '../../src/clock.ts'
import { TidegateError } from '../../src/errors.ts'
import { orAborted } from '../../src/lifecycle.ts'
import { headers } from '../../src/contract/wire.ts'
import type { AmqpConnection } from '../amqp/connection-rabbit.ts'
import type { Lease } from '../amqp/lease-rabbit.ts'
import { countsOf } from '../amqp/topology-rabbit.ts'

export interface ProbesOptions {
  publishing: AmqpConnection
  clock: Clock
  random: Random
}

const lookEveryMs = 20
/** A probe that has not come, out of an empty queue that has given us nothing for so long, was taken by another. */
const probeLostAfterMs = 10_000
const probeText =
  'A probe, by which Tidegate learns whether a queue is drained. It was taken by an instance of a former version; delete it.'

/**
 * Nothing in AMQP says who else consumes from a queue with a single active consumer: RabbitMQ counts the active one
 * alone. So a message of ours, a probe, is put behind everything that is in the queue. When it is delivered to us we
 * are the active consumer, and all that was in front of it has been delivered to us or was settled before.
 */
export class Probes {
  readonly #options: ProbesOptions
  /** Of probes that came: on which lease, and where. */
  readonly #seen = new Map<string, { lease: Lease; deliveryTag: number }>()
  #sent = 0

  constructor(options: ProbesOptions) {
    this.#options = options
  }

  /** Takes a probe out of what is delivered; false: it is none. */
  intercept(message: AsyncMessage, lease: Lease): boolean {
    const probe: unknown = message.headers?.[headers.probe]
    if (typeof probe !== 'string') return false
    this.#seen.set(probe, { lease, deliveryTag: message.deliveryTag })
    lease.settle(message, this.#options.clock.monotonicMs())
    return true
  }

  /**
   * True: what was in the queue at the time of the call is settled, and nobody else has any of it in hand. False: this
   * probe will tell nothing, because the subscription has changed or another took it.
   * @throws TidegateError `QUEUE_NOT_ALONE`
   */
  async isDrained(queue: string, lease: Lease, signal: AbortSignal): Promise<boolean> {
    const probe = `${++this.#sent} ${this.#options.random()}`
    await orAborted(this.#send(queue, probe), signal)
    try {
      return await this.#answered(queue, probe, lease, signal)
    } finally {
      this.#seen.delete(probe)
    }
  }

  async #answered(queue: string, probe: string, lease: Lease, signal: AbortSignal): Promise<boolean> {
    const { clock, publishing } = this.#options
    let quietSinceMs = clock.monotonicMs()
    while (!lease.lost) {
      const came = this.#seen.get(probe)
      if (came && came.lease !== lease) return false
      if (came && lease.hasSettled(came.deliveryTag)) {
        const counts = await orAborted(countsOf(publishing, queue), signal)
        // One that left without closing its channel would still be counted, with what it has in its hands.
        return counts === undefined || counts.consumers === 1
      }
      if (came || !lease.idle) quietSinceMs = clock.monotonicMs()
      if (clock.monotonicMs() - quietSinceMs > probeLostAfterMs) {
        const counts = await orAborted(countsOf(publishing, queue), signal)
        // Zeros are no answer; and what is in the queue may have the probe behind it.
        if (counts && counts.consumers > 0 && counts.messages === 0) throw notAlone(queue)
        quietSinceMs = clock.monotonicMs()
      }
      await clock.sleep(lookEveryMs, signal)
    }
    return false
  }

  async #send(queue: string, probe: string): Promise<void> {
    const channel = await this.#options.publishing.client.acquire({ emitErrorsFromChannel: true })
    channel.on('error', () => {})
    try {
      await channel.basicPublish(
        { routingKey: queue, durable: true, headers: { [headers.probe]: probe } },
        Buffer.from(probeText),
      )
    } finally {
      await channel.close()
    }
  }
}

function notAlone(queue: string): TidegateError {
  return new TidegateError('QUEUE_NOT_ALONE', {
    message: `another consumer reads the queue ${queue}, which is to be drained`,
    retryable: true,
    hint: 'stop the instances of the former version; rabbitmqctl list_consumers shows who reads it',
  })
}
