import { Connection } from 'rabbitmq-client'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { connectAmqp } from '../../../cloud/amqp/connection-rabbit.ts'
import { declareTopology } from '../../../cloud/amqp/topology-rabbit.ts'
import { groupTopology } from '../../../cloud/amqp/topology.ts'
import { mirrorQueue, partitionName, partitionQueue, rungName } from '../../../src/contract/wire.ts'
import { silentLog } from '../../../src/log.ts'
import { type CloudBench, openCloudBench } from '../../support/cloud/cloud.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { bindingsOf, declareFormerQueues } from '../../support/cloud/former-queues.ts'
import { rabbitmqctl } from '../../support/servers.ts'

const quick = { sharing: { beat: '100ms', goneAfter: '600ms' } }
const ladder = { retry: { ladder: ['300ms', '45s'] } }
const shared = { ordered: true, ladderMs: [300, 45_000], partitions: 4, mirror: true }

let bench: CloudBench
let connection: Connection
let publisher: ReturnType<Connection['createPublisher']>
beforeEach(async () => {
  bench = await openCloudBench()
  connection = new Connection({ url: bench.url })
  connection.on('error', () => {})
  publisher = connection.createPublisher({ confirm: true })
  await bench.declareExchange()
})
afterEach(async () => {
  await publisher.close()
  await connection.close()
  await bench.close()
})

const until = (check: () => void | Promise<void>, timeout = 25_000): Promise<void> =>
  vi.waitFor(check, { interval: 50, timeout })

/** As the version before has left the broker. */
async function asBefore(): Promise<void> {
  const broker = await connectAmqp({ url: bench.url, connectionName: 'test', log: silentLog })
  await declareTopology(
    broker,
    groupTopology({ ...shared, group: 'history', types: ['#', 'dev.tidegate.#'] }),
  )
  await declareTopology(broker, groupTopology({ ...shared, group: 'rollups', types: ['#'] }))
  await broker.close()
  await declareFormerQueues(bench.url, { group: 'rollups', types: ['#'], partitions: 4 })
  // What the upgrade leaves where that has counted.
  await bench.rows('insert into tidegate.former_rollups (one) values (true)')
}

/** Into one queue alone, past every exchange of ours. */
const into = (queue: string, text: string): Promise<void> =>
  publisher.send({ routingKey: queue, durable: true }, Buffer.from(text))

async function queuesOfRollups(): Promise<string[]> {
  const vhost = decodeURIComponent(new URL(bench.url).pathname.slice(1))
  const listed = await rabbitmqctl('-q', 'list_queues', '-p', vhost, 'name', '--no-table-headers')
  return listed
    .split('\n')
    .filter((name) => name.startsWith('rollups.'))
    .toSorted()
}

const stored = async (): Promise<number> =>
  (await bench.rows<{ n: number }>('select count(*)::int as n from tidegate.events'))[0]?.n ?? 0

describe('a group that this version has not any more', () => {
  test('loses its queues when history has what is in them, and a message that history has not stays (G5)', async () => {
    await asBefore()
    const ledger = new Ledger()
    const events = Array.from({ length: 40 }, (_, index) => ledger.next(`device-${index % 8}`))
    await bench.publish(events)
    const late = ledger.next('device-1')
    const failed = ledger.next('device-2')
    // On its ladder when the version before was stopped, and one that history has not heard of yet.
    await bench.publish([failed])
    await into(rungName('rollups', 45_000), failed.text)
    await into(partitionQueue('rollups', 0), late.text)
    // What is no event is a letter of history; here it is not yet.
    await into(partitionQueue('rollups', 3), 'no event')
    await into(partitionQueue('history', 3), 'no event')
    await bench.start({ ...quick, ...ladder })
    // Somebody has looked at it, and closed it.
    await until(async () => expect(await bench.letters('history')).toHaveLength(1))
    await bench.rows(`update tidegate.dead_letters set state = 'discarded', closed_at = now()`)
    await until(async () => expect(await stored()).toBe(41))
    await until(async () => expect(await bindingsOf(rabbitmqctl, bench.url)).not.toContain(`rollups.00 00.#`))
    await until(async () => expect(await bench.depth(partitionQueue('rollups', 1))).toBe(0))
    expect(await queuesOfRollups()).toContain(partitionQueue('rollups', 0))
    await bench.publish([late])
    await until(async () => expect(await queuesOfRollups()).toEqual([]))
    expect(await stored()).toBe(42)
    expect(await bench.letters('rollups')).toEqual([])
    const bound = await bindingsOf(rabbitmqctl, bench.url)
    expect(bound.filter((one) => one.startsWith('rollups'))).toEqual([])
    expect(
      await bench.rows('select queues_gone_at is not null as gone from tidegate.former_rollups'),
    ).toEqual([{ gone: true }])
  }, 60_000)

  test('keeps its queues where nothing says that they are those of what was built in (G5)', async () => {
    await asBefore()
    await bench.rows('delete from tidegate.former_rollups')
    const before = await queuesOfRollups()
    const ledger = new Ledger()
    await bench.publish([ledger.next('device-1')])
    await bench.start({ ...quick, ...ladder })
    await until(async () => expect(await stored()).toBe(1))
    await bench.rows(`insert into tidegate.former_rollups (one, queues_gone_at) values (true, now())`)
    await bench.start({ ...quick, ...ladder })
    await bench.publish([ledger.next('device-1')])
    await until(async () => expect(await stored()).toBe(2))
    expect(await queuesOfRollups()).toEqual(before)
    expect(await bindingsOf(rabbitmqctl, bench.url)).toContain(`${partitionQueue('rollups', 0)} 00.#`)
  }, 60_000)

  test('keeps its queues while an instance of the version before works at them', async () => {
    await asBefore()
    const seen = (from: string): Promise<unknown> =>
      bench.rows(
        `insert into tidegate.members (consumer_group, instance, seen_at, queue_generation) values ('rollups', 'before', clock_timestamp() + $1::interval, 2)
         on conflict (consumer_group, instance) do update set seen_at = excluded.seen_at`,
        [from],
      )
    await seen('1 hour')
    const ledger = new Ledger()
    await bench.start({ ...quick, ...ladder })
    await bench.publish([ledger.next('device-1')])
    await until(async () => expect(await stored()).toBe(1))
    const names = [0, 1, 2, 3].flatMap((partition) => [
      `rollups.${partitionName(partition)}`,
      partitionQueue('rollups', partition),
    ])
    expect(await queuesOfRollups()).toEqual(
      [...names, rungName('rollups', 300), rungName('rollups', 45_000), mirrorQueue('rollups')].toSorted(),
    )
    expect(await bindingsOf(rabbitmqctl, bench.url)).toContain(`${partitionQueue('rollups', 0)} 00.#`)
    await seen('-1 hour')
    await until(async () => expect(await queuesOfRollups()).toEqual([]))
  }, 60_000)
})
