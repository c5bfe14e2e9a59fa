import { Connection, type Consumer } from 'rabbitmq-client'
import type { Sample } from '../run/figures.ts'
import { onTask } from '../run/worker.ts'

export interface ConsumerTask {
  url: string
  queues: readonly string[]
  /** Consumed before these. */
  warmUpEvents: number
  events: number
}

/** The reference: the bare client acknowledges single events and forgets them. */
onTask(async ({ url, queues, warmUpEvents, events }: ConsumerTask): Promise<Sample> => {
  const connection = new Connection({ url, frameMax: 131_072 })
  const consumers: Consumer[] = []
  let [startedMs, cpu] = [performance.now(), process.cpuUsage()]
  await new Promise<void>((resolve) => {
    let seen = 0
    for (const queue of queues) {
      const props = { queue, queueOptions: { passive: true }, qos: { prefetchCount: 400 } }
      consumers.push(
        connection.createConsumer(props, () => {
          if (seen === warmUpEvents) [startedMs, cpu] = [performance.now(), process.cpuUsage()]
          if (++seen === warmUpEvents + events) resolve()
        }),
      )
    }
  })
  const ms = performance.now() - startedMs
  const { user, system } = process.cpuUsage(cpu)
  await Promise.all(consumers.map((consumer) => consumer.close()))
  await connection.close()
  return { eventsPerSecond: (events / ms) * 1000, cpuMicros: (user + system) / events }
})
