import type { AsyncMessage, Channel } from 'rabbitmq-client'
import { expect, test } from 'vitest'
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
