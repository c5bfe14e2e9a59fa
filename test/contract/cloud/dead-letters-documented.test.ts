import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { exchangeTopology, groupTopology } from '../../../cloud/amqp/topology.ts'
import { declareTopology } from '../../../cloud/amqp/topology-rabbit.ts'
import { rabbitMirror } from '../../../cloud/letters/mirror-rabbit.ts'
import { run } from '../../../dev/servers/command.ts'
import { freePort } from '../../../dev/servers/ports.ts'
import { type RabbitServer, startRabbit } from '../../../dev/servers/rabbit/rabbit.ts'
import { systemClock } from '../../../src/clock.ts'
import { headers as names } from '../../../src/contract/wire.ts'
import { type CloudBench, openCloudBench } from '../../support/cloud/cloud.ts'
import { Ledger } from '../../support/cloud/cloud-events.ts'
import { connectTo, letter } from '../../support/cloud/test-amqp.ts'
import { obtainClients } from '../../support/packages.ts'

/** Of docs/OPERATIONS.md, Dead letters: blocks of shell commands, in their order. */
const page = readFileSync(join(import.meta.dirname, '../../../docs/OPERATIONS.md'), 'utf8')
const [, section = ''] = page.split(/^## Dead letters$/m)
const [own = ''] = section.split(/^## /m)
const [look = '', replay = '', single = '', history = ''] = [...own.matchAll(/```sh\n([^]*?)```/g)].map(
  ([, block = '']) => block,
)

const password = 'secret'
const permissions = { configure: '.*', write: '.*', read: '.*' }
const dir = mkdtempSync(join(tmpdir(), 'tidegate-documented-'))
const groups = ['alerts', 'other'] as const

let rabbit: RabbitServer
let api: string
beforeAll(async () => {
  await obtainClients('jq', 'amqp-get', 'psql')
  const port = await freePort()
  api = `http://127.0.0.1:${port}/api`
  rabbit = await startRabbit({
    dir: join(dir, 'rabbit'),
    users: [{ name: 'admin', password, permissions, tags: ['management'] }],
    plugins: ['rabbitmq_management'],
    extraConfig: `management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = ${port}\n`,
    say: () => {},
  })
})
afterAll(async () => {
  await rabbit?.close()
  rmSync(dir, { recursive: true, force: true })
})

/** As somebody types it, in a shell that has the variables. */
async function shell(commands: string, variables: Record<string, string> = {}): Promise<string> {
  const env = { ...process.env, PASSWORD: password, amqp: rabbit.urlFor('admin'), ...variables }
  const args = ['-euc', commands.replaceAll('http://127.0.0.1:15672/api', api)]
  const { code, stdout, stderr } = await run({ file: 'sh', args, env, cwd: dir }, { timeoutMs: 20_000 })
  expect(code, stderr).toBe(0)
  return stdout
}

const [apiIs = ''] = look.split('\n')

/** How many lie in each queue, by asking the broker itself. */
async function depths(queues: readonly string[]): Promise<Record<string, number>> {
  const broker = await connectTo(rabbit.urlFor('admin'))
  const channel = await broker.client.acquire()
  const counts: Record<string, number> = {}
  for (const queue of queues)
    counts[queue] = (await channel.queueDeclare({ queue, passive: true })).messageCount
  await channel.close()
  await broker.close()
  return counts
}

describe('dead letters', () => {
  const queues = ['alerts.dead.v2', 'alerts.01.v2', 'alerts.00.v2', 'other.dead.v2', 'other.01.v2']

  beforeEach(async () => {
    const broker = await connectTo(rabbit.urlFor('admin'))
    await declareTopology(broker, exchangeTopology())
    for (const group of groups)
      await declareTopology(
        broker,
        groupTopology({ group, types: ['#'], ordered: false, ladderMs: [], partitions: 2, mirror: true }),
      )
    const channel = await broker.client.acquire()
    for (const queue of queues) await channel.queuePurge({ queue })
    const headers = { [names.attempt]: 3, [names.originalQueue]: 'alerts.01.v2', [names.group]: 'alerts' }
    const mirrored = new Promise((onResult) => {
      const mirror = rabbitMirror({
        connection: broker,
        clock: systemClock,
        onResult: (_, result) => onResult(result),
      })
      mirror.copy('alerts', () => letter('{"id":"a"}', { headers }))
    })
    if ((await mirrored) !== 'mirrored') throw new Error('there is no copy')
    await channel.close()
    await broker.close()
  })

  test('stay where they are, however often the documented look is taken (G5)', async () => {
    const limit = JSON.stringify({ 'delivery-limit': 1_000_000_000 })
    await rabbit.ctl(['set_policy', 'none', '.*', limit, '--apply-to', 'queues'])
    let shown = ''
    for (let looks = 0; looks < 25; looks++) shown = await shell(look)
    expect(JSON.parse(shown)).toMatchObject({ event: { id: 'a' }, headers: { [names.attempt]: 3 } })
    await vi.waitFor(async () => expect(await depths(queues)).toMatchObject({ 'alerts.dead.v2': 1 }))
  })

  test('go back to the group that failed, and to no other, by the documented replay (G5)', async () => {
    expect(await shell(`${apiIs}\n${replay}`)).toContain('{"routed":true}')
    await vi.waitFor(async () =>
      expect(await depths(queues)).toEqual({
        'alerts.dead.v2': 0,
        'alerts.01.v2': 1,
        'alerts.00.v2': 0,
        'other.dead.v2': 0,
        'other.01.v2': 0,
      }),
    )
  })

  test('go back one by one with amqp-get and amqp-publish, to the group that failed and to no other (G5)', async () => {
    await shell(single.replace('alerts.07.v2', 'alerts.01.v2'))
    await vi.waitFor(async () =>
      expect(await depths(queues)).toMatchObject({
        'alerts.dead.v2': 0,
        'alerts.01.v2': 1,
        'other.01.v2': 0,
      }),
    )
    expect(execFileSync('cat', [join(dir, 'letter.json')], { encoding: 'utf8' })).toBe('{"id":"a"}')
  })
})

describe('entries that history could not read', () => {
  let bench: CloudBench

  test('of a gateway’s account are entered when they are published again out of history (G5)', async () => {
    bench = await openCloudBench()
    await bench.start()
    const ledger = new Ledger()
    const ranges = [{ from: 5, to: 9, reason: 'expired' }]
    const entry = ledger.next('gateway-1', {
      type: 'dev.tidegate.ledger',
      source: '/gateways/gateway-1',
      data: { kind: 'undelivered', epoch: ledger.epoch, ranges },
    })
    const { gateway, epoch, sequence, source, id, type, time, recordedtime } = entry.event
    await bench.rows(
      `insert into tidegate.events (gateway, epoch, sequence, source, id, type, time, recorded_time, disposition, reason, body)
       values ($1, $2, $3, $4, $5, $6, $7, $8, 'dead', 'LEDGER_UNREADABLE: of a later version', $9)`,
      [gateway, epoch, sequence, source, id, type, time, recordedtime, entry.text],
    )
    const variables = { database: bench.databaseUrl, amqp: bench.url }
    for (let again = 0; again < 2; again++) await shell(history, variables)
    await vi.waitFor(async () =>
      expect(
        await bench.rows('select from_sequence::int, to_sequence::int, reason from tidegate.ledger_notes'),
      ).toEqual([{ from_sequence: 5, to_sequence: 9, reason: 'expired' }]),
    )
    expect(await bench.letters('history')).toEqual([])
    await bench.close()
  })
})
