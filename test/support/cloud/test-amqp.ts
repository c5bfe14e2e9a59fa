import { afterAll, beforeAll } from 'vitest'
import { type AmqpConnection, connectAmqp } from '../../../cloud/amqp/connection-rabbit.ts'
import type { Letter } from '../../../cloud/amqp/delivery.ts'
import { exchangeTopology } from '../../../cloud/amqp/topology.ts'
import { declareTopology } from '../../../cloud/amqp/topology-rabbit.ts'
import { headers } from '../../../src/contract/wire.ts'
import { silentLog } from '../../../src/log.ts'
import { createVhost } from '../servers.ts'

export interface TestAmqp {
  url: string
  broker: AmqpConnection
}

export function connectTo(url: string): Promise<AmqpConnection> {
  return connectAmqp({ url, connectionName: 'test', log: silentLog })
}

/** A virtual host for the tests of a file, with the exchange in it, and a connection to it; there once the tests begin. */
export function useAmqp(): TestAmqp {
  const amqp = {} as TestAmqp
  beforeAll(async () => {
    amqp.url = await createVhost()
    amqp.broker = await connectTo(amqp.url)
    await declareTopology(amqp.broker, exchangeTopology())
  })
  afterAll(() => amqp.broker.close())
  return amqp
}

/** A letter of this text, which has failed once. */
export function letter(text: string, more: Partial<Letter> = {}): Letter {
  return {
    body: Buffer.from(text),
    properties: { messageId: text },
    headers: { [headers.attempt]: 2 },
    barer: [],
    ...more,
  }
}
