import type { AsyncMessage, Channel } from 'rabbitmq-client'
import { expect, test } from 'vitest'
import { messageBytesMax } from '../../../cloud/amqp/in-hand.ts'
import { Lease } from '../../../cloud/amqp/lease-rabbit.ts'

test.each<[Partial<AsyncMessage>, boolean]>([
  [{}, false],
  [{ messageId: 'm', appId: 'a', type: 't', timestamp: 1, contentType: 'c', correlationId: '17' }, false],
  [{ contentEncoding: 'gzip' }, false],
  [{ replyTo: 'q' }, true],
  [{ priority: 0 }, true],
  [{ expiration: '1000' }, true],
  [{ userId: 'guest' }, false],
  [{ clusterId: 'c' }, true],
  [{ correlationId: 'mine' }, true],
])('a delivery says whether it has properties that it does not name: %o', (properties, says) => {
  const lease = new Lease({ active: true } as Channel, 'q', 0)
  const message = { deliveryTag: 1, body: Buffer.alloc(0), exchange: '', routingKey: '', ...properties }
  expect(lease.deliveries(message as AsyncMessage, 0, 0)[0]?.hasMoreProperties).toBe(says)
})

test.each(['application/cloudevents+json', 'application/cloudevents-batch+json', undefined])(
  'a message that is larger than any of ours is one delivery, with its bytes as they are and never looked into (%s) (G7)',
  (contentType) => {
    const lease = new Lease({ active: true } as Channel, 'q', 0)
    const body = Buffer.alloc(messageBytesMax + 1)
    const message = { deliveryTag: 1, body, exchange: '', routingKey: '', contentType } as AsyncMessage
    const [delivery, ...more] = lease.deliveries(message, 0, 0)
    expect(more).toEqual([])
    expect(delivery?.text).toBe(body)
    expect(delivery?.batchFault).toMatchObject({ code: 'MESSAGE_TOO_LARGE', retryable: false })
    const allowed = { ...message, deliveryTag: 2, body: body.subarray(1) }
    expect(lease.deliveries(allowed, 0, 0)[0]?.batchFault?.code).not.toBe('MESSAGE_TOO_LARGE')
  },
)
