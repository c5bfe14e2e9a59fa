import { readFileSync } from 'node:fs'
import { Connection } from 'rabbitmq-client'

export interface BareEndTask {
  url: string
  caFile: string
  certFile: string
  keyFile: string
}

/** A consumer as it stands in tutorials: one quorum queue, each message handled and acknowledged. To handle it is to tell its ID. */
process.once('disconnect', () => process.exit(0))
process.once('message', (message) => {
  const { url, caFile, certFile, keyFile } = message as BareEndTask
  const connection = new Connection({
    url,
    tls: { ca: readFileSync(caFile), cert: readFileSync(certFile), key: readFileSync(keyFile) },
    frameMax: 131_072,
    retryLow: 200,
    retryHigh: 1_000,
  })
  connection.on('error', () => undefined)
  const consumer = connection.createConsumer(
    {
      queue: 'readings',
      queueOptions: { queue: 'readings', durable: true, arguments: { 'x-queue-type': 'quorum' } },
      queueBindings: [{ exchange: 'amq.topic', routingKey: '#' }],
      qos: { prefetchCount: 400 },
    },
    ({ body }) => {
      const { id } = JSON.parse(String(body)) as { id: string }
      process.stdout.write(`${id}\n`)
    },
  )
  consumer.on('error', () => undefined)
  consumer.once('ready', () => process.send?.('ready'))
})
