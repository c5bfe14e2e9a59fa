import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Connection } from 'rabbitmq-client'
import { createDatabase } from '../../../cloud/database/database-postgres.ts'
import { postgresUpgradeRegister } from '../../../cloud/queues/former-postgres.ts'
import type { UpgradeLock } from '../../../cloud/queues/former.ts'
import { runCloud } from '../../../cloud/main.ts'
import { startLink } from '../../../dev/stack/link.ts'
import { systemClock } from '../../../src/clock.ts'
import { headers, partitionOf, rungName } from '../../../src/contract/wire.ts'
import { pino } from 'pino'
import { type CloudBench, openCloudBench } from '../../support/cloud/cloud.ts'
import { type CloudProgram, startCloudProgram } from '../../support/cloud/cloud-program.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { bindingsOf, declareFormerQueues } from '../../support/cloud/former-queues.ts'
import { FakeClock } from '../../support/fakes/clock.ts'
import { rabbitmqctl } from '../../support/servers.ts'

/** What happened first of an event is what counts; the row's number tells when. */
const effects = (ordered: boolean): string => `
export default {
  group: 'effects',
  types: ['com.acme.climate'],
  ordered: ${ordered},
  onFailure: 'overtake',
  async handle(event, { tx, attempt }) {
    await tx.query('insert into effects (device, sequence) values ($1, $2)', [event.partitionkey, event.sequence])
    if (attempt <= (event.data.failUntil ?? 0)) throw new Error('the sensor is odd')
  },
}`
const types = ['com.acme.climate']
const quick = { sharing: { beat: '100ms', goneAfter: '600ms' } }

let bench: CloudBench
let ledger: Ledger
let connection: Connection
const cleanups: (() => Promise<unknown>)[] = []
beforeEach(async () => {
  bench = await openCloudBench()
  ledger = new Ledger()
  connection = new Connection({ url: bench.url })
  connection.on('error', () => {})
  await bench.rows(
    'create table effects (n bigint generated always as identity, device text, sequence bigint)',
  )
  await bench.declareExchange()
}, 120_000)
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
  await connection.close()
  await bench.close()
})

const until = (check: () => void | Promise<void>, timeout = 25_000): Promise<void> =>
  vi.waitFor(check, { interval: 50, timeout })

const config = (more: { ordered?: boolean; instance?: string; retry?: object } = {}): object => {
  const { ordered = true, ...rest } = more
  return bench.config({ consumers: [{ module: bench.module(effects(ordered)) }], ...quick, ...rest })
}

function start(given: object, dieAt?: string): CloudProgram {
  const program = startCloudProgram(given, dieAt)
  cleanups.push(() => program.kill())
  return program
}

/** Publishes some hundred events a second over twenty devices, until it is told to stop. */
function publishing(): { stop(): Promise<void> } {
  const told = new AbortController()
  const run = async (): Promise<void> => {
    while (!told.signal.aborted) {
      await bench.publish([ledger.next(`device-${ledger.sequence % 20}`)])
      await systemClock.sleep(2)
    }
  }
  const running = run()
  return {
    stop() {
      told.abort()
      return running
    },
  }
}

const some = (count: number): Promise<void> =>
  bench.publish(Array.from({ length: count }, (_, index) => ledger.next(`device-${index % 20}`)))

async function formerQueues(program: { opsUrl(): string }): Promise<Record<string, number>> {
  const text = await (await fetch(`${program.opsUrl()}/metrics`)).text()
  const found = text.matchAll(/tidegate_cloud_former_queues\{group="effects",state="(\w+)"\} (\d+)/g)
  return Object.fromEntries([...found].map(([, state, count]) => [String(state), Number(count)]))
}

async function active(program: CloudProgram): Promise<number> {
  const text = await (await fetch(`${program.opsUrl()}/metrics`)).text()
  return Number(/tidegate_cloud_partitions_active\{group="effects"\} (\d+)/.exec(text)?.[1])
}

const boundAnew = ['00', '01', '02', '03'].map(
  (partition) => `effects.${partition}.v2 ${partition}.${types[0]}`,
)

const rows = (): Promise<{ device: string; sequence: string }[]> =>
  bench.rows('select device, sequence from effects order by n')

/** Every event had its effect once, and each device's in order. */
async function expectBooksBalanced(): Promise<void> {
  await until(async () => expect((await rows()).length).toBeGreaterThanOrEqual(ledger.sequence))
  const all = await rows()
  expect(new Set(all.map(({ sequence }) => sequence)).size).toBe(ledger.sequence)
  expect(all).toHaveLength(ledger.sequence)
  const last = new Map<string, number>()
  for (const { device, sequence } of all) {
    expect(Number(sequence), device).toBeGreaterThan(last.get(device) ?? 0)
    last.set(device, Number(sequence))
  }
}

describe('an upgrade of queues', () => {
  test.each(['', 'subscribed', 'alone', 'bound', 'unbound', 'drained', 'noted'])(
    'loses nothing, repeats nothing and keeps each device in order, under load and killed with -9 at the step "%s" (G5, G6)',
    async (step) => {
      await declareFormerQueues(bench.url, { group: 'effects', types, partitions: 4 })
      await some(300)
      const load = publishing()
      cleanups.push(() => load.stop())
      if (step !== '') await start(config(), step).ended
      const program = start(config())
      await program.started
      await until(async () => expect(await formerQueues(program)).toEqual({ draining: 0, drained: 4 }))
      await load.stop()
      await some(100)
      await expectBooksBalanced()
      expect(await bindingsOf(rabbitmqctl, bench.url)).toEqual(boundAnew)
      expect(await bench.letters('effects')).toEqual([])
    },
    60_000,
  )

  test('with two instances at once keeps each device in order, and both share the new queues (G6)', async () => {
    await declareFormerQueues(bench.url, { group: 'effects', types, partitions: 4 })
    await some(1000)
    const load = publishing()
    cleanups.push(() => load.stop())
    const programs = ['a', 'b'].map((instance) => start(config({ instance })))
    for (const program of programs) await program.started
    for (const program of programs)
      await until(async () => expect(await formerQueues(program)).toEqual({ draining: 0, drained: 4 }))
    await until(async () => expect(await Promise.all(programs.map(active))).toEqual([2, 2]))
    await load.stop()
    await expectBooksBalanced()
  }, 60_000)

  test('waits until the instances of the former version are gone, and they go on working meanwhile', async () => {
    await declareFormerQueues(bench.url, { group: 'effects', types, partitions: 4 })
    const beat = (): Promise<unknown> =>
      bench.rows(`insert into tidegate.members (consumer_group, instance, seen_at)
        values ('effects', 'old', clock_timestamp() + interval '1 hour')
        on conflict (consumer_group, instance) do nothing`)
    await beat()
    const seen: string[] = []
    const channels = await Promise.all(
      ['00', '01', '02', '03'].map(async (partition) => {
        const channel = await connection.acquire()
        await channel.basicConsume({ queue: `effects.${partition}` }, (message) => {
          seen.push(String(message.messageId))
          channel.basicAck({ deliveryTag: message.deliveryTag })
        })
        return channel
      }),
    )
    const program = start(config())
    await program.started
    await some(50)
    await until(() => expect(seen).toHaveLength(50))
    const ready = await fetch(`${program.opsUrl()}/readyz`)
    expect([ready.status, await ready.text()]).toEqual([
      200,
      expect.stringContaining('draining 4 queues of a former version'),
    ])
    expect((await bindingsOf(rabbitmqctl, bench.url)).filter((name) => name.includes('.v2'))).toEqual([])

    await Promise.all(channels.map((channel) => channel.close()))
    await some(50)
    await until(async () => expect(await bench.rows('select 1 from effects')).toHaveLength(50))
    expect(await formerQueues(program)).toEqual({ draining: 4, drained: 0 })
    await bench.rows(`delete from tidegate.members where instance = 'old'`)
    await until(async () => expect(await formerQueues(program)).toEqual({ draining: 0, drained: 4 }))
    expect(await bindingsOf(rabbitmqctl, bench.url)).toEqual(boundAnew)
    expect(await bench.letters('effects')).toEqual([])
  }, 60_000)

  test('a letter on a rung comes home to a queue that is drained, and the next time to the new one (G5)', async () => {
    await declareFormerQueues(bench.url, { group: 'effects', types, partitions: 4 })
    const ladder = ['4s', '3s']
    const cloud = { ...config({ retry: { ladder } }) }
    const first = start(cloud)
    await first.started
    const { event, text } = ledger.next('device-1', { data: { failUntil: 2 } })
    const partition = partitionOf('device-1', bench.partitions)
    const channel = await connection.acquire()
    await channel.basicPublish(
      {
        exchange: rungName('effects', 4000),
        routingKey: `effects.0${partition}`,
        durable: true,
        messageId: event.id,
        headers: { [headers.attempt]: 2 },
      },
      Buffer.from(text),
    )
    await channel.close()
    await until(async () => expect(await formerQueues(first)).toEqual({ draining: 0, drained: 4 }))
    await until(async () => expect(await bench.depth(rungName('effects', 3000))).toBe(1))
    for (let number = 0; number < 4; number++) await connection.queueDelete(`effects.0${number}`)
    await until(async () => expect(await formerQueues(first)).toEqual({ draining: 0, drained: 0 }))
    await until(async () => expect(await bench.rows('select 1 from effects')).toHaveLength(1))
    expect((await fetch(`${first.opsUrl()}/readyz`)).status).toBe(200)
    await expect(bench.depth(`effects.0${partition}`)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  }, 60_000)

  test('a group without order reads both queues from the start, and is moved as well', async () => {
    await declareFormerQueues(bench.url, { group: 'effects', types, partitions: 4, ordered: false })
    await some(100)
    const program = start(config({ ordered: false }))
    await program.started
    await until(async () => expect(await formerQueues(program)).toEqual({ draining: 0, drained: 4 }))
    await some(100)
    await until(async () => expect(await bench.rows('select 1 from effects')).toHaveLength(200))
    expect(await bindingsOf(rabbitmqctl, bench.url)).toEqual(boundAnew)
  }, 60_000)

  test('says that the queues of a group without order are drained when they are empty, and not before (G5)', async () => {
    await declareFormerQueues(bench.url, { group: 'effects', types, partitions: 4, ordered: false })
    await some(1500)
    const program = start(config({ ordered: false }))
    await program.started
    await until(async () => expect(await formerQueues(program)).toEqual({ draining: 0, drained: 4 }))
    for (const partition of ['00', '01', '02', '03'])
      expect(await bench.depth(`effects.${partition}`)).toBe(0)
    expect(new Set((await rows()).map(({ sequence }) => sequence)).size).toBe(1500)
  }, 60_000)

  test('a queue that somebody else reads holds up no other, and none is read anew before it is drained (G6)', async () => {
    await declareFormerQueues(bench.url, { group: 'effects', types, partitions: 4 })
    const device = 'device-1'
    const partition = partitionOf(device, 4)
    const former = `effects.0${partition}`
    const foreign = `effects.0${(partition + 1) % 4}`
    await bench.publish(Array.from({ length: 2000 }, () => ledger.next(device)))
    const reader = await connection.acquire()
    await reader.basicConsume({ queue: foreign }, () => {})
    // A broker some way off: what a channel gives back on closing takes a while.
    const { hostname, port } = new URL(bench.url)
    const link = await startLink({ target: { host: hostname, port: Number(port) } })
    cleanups.push(() => link.close())
    link.set({ kind: 'slow', latencyMs: 30, bytesPerSecond: 1e9 })
    const url = Object.assign(new URL(bench.url), { hostname: link.host, port: String(link.port) }).href
    const program = start({ ...config(), broker: { url } })
    await program.started
    const load = publishing()
    const noted = async (): Promise<string[]> =>
      (await bench.rows<{ queue: string }>('select queue from tidegate.drained_queues')).map(
        ({ queue }) => queue,
      )
    await until(async () => expect(await noted()).toHaveLength(3), 40_000)
    expect(await noted()).not.toContain(foreign)
    expect(await bench.depth(former)).toBe(0)
    await reader.close()
    await until(async () => expect(await noted()).toHaveLength(4), 40_000)
    await load.stop()
    await expectBooksBalanced()
  }, 120_000)

  test('a lock whose holder says nothing any more is given to the next (G6)', async () => {
    const database = createDatabase({ url: bench.databaseUrl, poolMax: 1, applicationName: 'test' })
    cleanups.push(() => database.close())
    const frozen = await postgresUpgradeRegister(database, 'effects', 300, new FakeClock()).lock()
    const next = postgresUpgradeRegister(database, 'effects', 300, systemClock)
    expect(await next.lock()).toBeUndefined()
    let lock: UpgradeLock | undefined
    await until(async () => expect((lock ??= await next.lock())).toBeDefined())
    expect(frozen?.lost.aborted).toBe(true)
    // Who says that it is there keeps it for longer than that.
    await systemClock.sleep(1500)
    expect(lock?.lost.aborted).toBe(false)
    expect(await next.lock()).toBeUndefined()
    await lock?.release()
  })

  test('a user without rights to the new names is one clear error, and nothing is moved', async () => {
    const url = new URL(bench.url)
    const vhost = url.pathname.slice(1)
    const former =
      '^(tidegate\\.(events|unroutable)|[a-z-]+\\.([0-9]{2}|dead|retry\\.[0-9]+(ms|s|m))|amq\\.default)$'
    await rabbitmqctl('add_user', 'former', 'former')
    await rabbitmqctl('set_permissions', '-p', vhost, 'former', former, former, former)
    url.username = url.password = 'former'
    await expect(bench.start({ ...quick, broker: { url: url.href } })).rejects.toMatchObject({
      code: 'TOPOLOGY_REFUSED',
      message: expect.stringContaining('queue history.00.v2') as string,
    })
    await rabbitmqctl('delete_user', 'former')
  })

  test('a rung without a delivery limit is taken as it is, with a warning', async () => {
    const queue = rungName('history', 300)
    const given = {
      'x-queue-type': 'quorum',
      'x-message-ttl': 300,
      'x-dead-letter-exchange': '',
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish',
      'x-max-length': 1_000_000,
    } as const
    await connection.queueDeclare({ queue, durable: true, arguments: given })
    const lines: Record<string, unknown>[] = []
    const told = new AbortController()
    const log = pino({}, { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) })
    await runCloud(bench.config(quick), {
      clock: systemClock,
      random: Math.random,
      log,
      signal: told.signal,
      onStarted: () => told.abort(),
    })
    expect(lines.filter(({ msg }) => String(msg).includes('RabbitMQ 4'))).toMatchObject([{ queues: [queue] }])
  })
})
