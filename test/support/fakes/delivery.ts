import type { Delivery } from '../../../cloud/amqp/delivery.ts'

/** One that came by itself, for the first time; of a message that is no event, unless it is given another text. */
export function deliveryOf(more: Partial<Delivery> = {}): Delivery {
  return {
    text: Buffer.from('no event'),
    queue: 'g.00.v2',
    partition: 0,
    exchange: 'tidegate.events',
    routingKey: '00.com.acme.climate',
    headers: {},
    properties: {},
    propertyBlock: Buffer.alloc(2),
    attempt: 1,
    redelivered: false,
    arrivedAtMs: 0,
    lost: false,
    ack() {},
    ...more,
  }
}
