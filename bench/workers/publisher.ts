import { Connection } from 'rabbitmq-client'
import { partitionOf, routingKey, wire } from '../../src/contract/wire.ts'
import type { Sample } from '../run/figures.ts'
import { onTask } from '../run/worker.ts'

export interface PublisherTask {
  url: string
  events: number
  /** Published before these. */
  warmUpEvents: number
  windowEvents: number
  partitions: number
  /** The body of every one of them. */
  text: string
}

/** The reference: bare confirmed publishing of single events that are in memory already. */
onTask(
  async ({ url, events, warmUpEvents, windowEvents, partitions, text }: PublisherTask): Promise<Sample> => {
    const connection = new Connection({ url, frameMax: 131_072 })
    const channel = await connection.acquire()
    await channel.confirmSelect()
    const body = Buffer.from(text)
    const type = 'com.acme.climate'
    let next = 0
    const run = async (until: number): Promise<void> => {
      while (next < until) {
        const number = next++
        const envelope = {
          exchange: wire.exchange,
          routingKey: routingKey(partitionOf(`bench-${number % 100}`, partitions), type),
          mandatory: true,
          durable: true,
          messageId: String(number).padStart(36, '0'),
          appId: 'bench',
          type,
          contentType: wire.contentType,
          timestamp: 1_790_000_000,
        }
        await channel.basicPublish(envelope, body)
      }
    }
    const all = (until: number): Promise<unknown> =>
      Promise.all(Array.from({ length: windowEvents }, () => run(until)))
    await all(warmUpEvents)
    const [startedMs, cpu] = [performance.now(), process.cpuUsage()]
    await all(warmUpEvents + events)
    const ms = performance.now() - startedMs
    const { user, system } = process.cpuUsage(cpu)
    await channel.close()
    await connection.close()
    return { eventsPerSecond: (events / ms) * 1000, cpuMicros: (user + system) / events }
  },
)
