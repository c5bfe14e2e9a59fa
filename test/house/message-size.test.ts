import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { messageBytesMax } from '../../cloud/amqp/in-hand.ts'
import { edgeConfigSchema } from '../../edge/config.ts'
import { root } from './sources.ts'

const { payloadBytesMax } = edgeConfigSchema.shape.events.parse({})
/** A control character is one byte of a payload, and six of JSON: `\u0001`. */
const growth = 6

test.each(['deploy/rabbitmq/tidegate.conf', 'deploy/compose/rabbitmq.conf'])(
  'a RabbitMQ with %s takes every event that a gateway takes, and nothing that the cloud does not read',
  (file) => {
    const [, size] = /^max_message_size = (\d+)$/m.exec(readFileSync(join(root, file), 'utf8')) ?? []
    expect(Number(size)).toBeGreaterThan(growth * payloadBytesMax)
    expect(Number(size)).toBeLessThanOrEqual(messageBytesMax)
  },
)
