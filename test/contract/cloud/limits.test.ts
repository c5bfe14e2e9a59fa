import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { connectAmqp } from '../../../cloud/amqp/connection-rabbit.ts'
import { groupTopology } from '../../../cloud/amqp/topology.ts'
import { declareTopology } from '../../../cloud/amqp/topology-rabbit.ts'
import type { Exchange, ExchangeSession, Outcome } from '../../../edge/uplink/exchange.ts'
import type { Queued } from '../../../edge/outbox/outbox.ts'
import { silentLog } from '../../../src/log.ts'
import { partitionOf, partitionQueue } from '../../../src/contract/wire.ts'
import { type CloudBench, openCloudBench } from '../../support/cloud/cloud.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { rabbitmqctl } from '../../support/servers.ts'
import { testUplink } from '../../support/edge/test-uplink.ts'

let bench: CloudBench
let ledger: Ledger
let exchange: Exchange
let session: ExchangeSession
let waiting: Map<number, (outcome: Outcome) => void>
beforeEach(async () => {
  bench = await openCloudBench()
  ledger = new Ledger()
  await bench.declareExchange()
  exchange = testUplink({
    url: bench.url,
    partitions: bench.partitions,
    gateway: 'gateway-1',
  })
  session = await exchange.connect(new AbortController().signal)
  waiting = new Map()
  session.onOutcomes((outcomes) => {
    for (const outcome of outcomes) waiting.get(outcome.shipment[0].position)?.(outcome)
  })
}, 120_000)
afterEach(async () => {
  await exchange.close()
  await bench.close()
})

function events(count: number): Queued[] {
  return Array.from({ length: count }, () => {
    const { event, text } = ledger.next('device-1')
    const { sequence, type, id, partitionkey: deviceId } = event
    return { position: sequence, sequence, lane: 'normal', deviceId, type, id, text, recordedAtMs: 1 }
  })
}

function publish(event: Queued): Promise<Outcome> {
  return new Promise((resolve) => {
    waiting.set(event.position, resolve)
    session.publish([event])
  })
}

async function policy(definition: object): Promise<void> {
  const vhost = decodeURIComponent(new URL(bench.url).pathname.slice(1))
  const json = JSON.stringify(definition)
  await rabbitmqctl('set_policy', '-p', vhost, 'limit', '.*', json, '--apply-to', 'queues')
}

const queue = partitionQueue('history', partitionOf('device-1', 4))

/** Without order, so that a test may take messages out. */
async function declareQueues(): Promise<void> {
  const broker = await connectAmqp({ url: bench.url, connectionName: 'test', log: silentLog })
  const { partitions } = bench
  const group = { mirror: true, group: 'history', types: ['#'], ordered: false, ladderMs: [], partitions }
  await declareTopology(broker, groupTopology(group))
  await broker.close()
}

/** IDs of what the queue holds, oldest first. */
async function held(): Promise<string[]> {
  const ids: string[] = []
  for (let message = await bench.get(queue); message; message = await bench.get(queue))
    ids.push(String(message.messageId))
  return ids
}

const limits = [{ 'max-length': 10 }, { 'max-length-bytes': 8_000 }]

describe('a length limit that a policy lays over all queues', () => {
  test.each(limits)(
    '%o: with the cloud away what is told as routed stays in the queue, and the rest is refused (G3)',
    async (definition) => {
      await declareQueues()
      await policy(definition)
      const all = events(100)
      const outcomes: Outcome[] = []
      // One after another: the limit is applied a moment after it was reached.
      for (const event of all) outcomes.push(await publish(event))
      const routed = outcomes.filter(({ kind }) => kind === 'routed').map(({ shipment }) => shipment[0].id)
      const refused = outcomes.filter((outcome) => outcome.kind === 'refused' && outcome.code === 'NACKED')
      expect(routed.length).toBeGreaterThan(0)
      expect(refused.length).toBeGreaterThan(50)
      expect(routed.length + refused.length).toBe(100)
      expect(await held()).toEqual(routed)
    },
    60_000,
  )

  test.each(limits)(
    '%o: with the cloud at work every event arrives, however often it was refused (G1, G3)',
    async (definition) => {
      const gateways = { users: { 'gateway-1': ['admin'] } }
      await bench.start({ gateways, consumers: ['history'], prefetch: 20, batch: { max: 20 } })
      await policy(definition)
      // While history cannot be written, the queue comes to its limit.
      const locker = new Client({ connectionString: bench.databaseUrl })
      await locker.connect()
      await locker.query('begin; lock table tidegate.events in access exclusive mode')
      let left: Queued[] = []
      let sent = 0
      const send = async (): Promise<void> => {
        const outcomes = await Promise.all(left.map(publish))
        left = outcomes.filter(({ kind }) => kind === 'refused').map(({ shipment }) => shipment[0])
      }
      // The broker lays the policy over its queues when it comes to it, so the limit shows in a refusal alone.
      while (left.length === 0) {
        left = events(300)
        sent += left.length
        await send()
      }
      await locker.end()
      while (left.length > 0) await send()
      await vi.waitFor(
        async () => expect(await bench.rows('select id from tidegate.events')).toHaveLength(sent),
        { timeout: 20_000 },
      )
    },
    60_000,
  )
})
