import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { brokerManagement } from '../../../cloud/queues/management.ts'
import { connectAmqp } from '../../../cloud/amqp/connection-rabbit.ts'
import { type QueueCheck, startQueueCheck } from '../../../cloud/queues/check.ts'
import { exchangeTopology, groupTopology } from '../../../cloud/amqp/topology.ts'
import { declareTopology } from '../../../cloud/amqp/topology-rabbit.ts'
import { freePort } from '../../../dev/servers/ports.ts'
import { type RabbitServer, startRabbit } from '../../../dev/servers/rabbit/rabbit.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'

const permissions = { configure: '.*', write: '.*', read: '.*' }
const topology = groupTopology({
  mirror: true,
  group: 'g',
  types: ['#'],
  ordered: true,
  ladderMs: [5000],
  partitions: 2,
})

let rabbit: RabbitServer
let port: number
const dir = mkdtempSync(join(tmpdir(), 'tidegate-management-'))
const checks: QueueCheck[] = []
beforeAll(async () => {
  port = await freePort()
  rabbit = await startRabbit({
    dir: join(dir, 'rabbit'),
    users: [
      { name: 'cloud', password: 'cloud', permissions },
      { name: 'watcher', password: 'p@ss/word', permissions, tags: ['monitoring'] },
    ],
    plugins: ['rabbitmq_management'],
    extraConfig: `management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = ${port}\n`,
    say: () => {},
  })
  const url = rabbit.urlFor('cloud')
  const broker = await connectAmqp({ url, connectionName: 'test', log: silentLog })
  await declareTopology(broker, exchangeTopology())
  await declareTopology(broker, topology)
  await broker.close()
})
afterEach(async () => {
  for (const check of checks.splice(0)) await check.close()
})
afterAll(async () => {
  await rabbit?.close()
  rmSync(dir, { recursive: true, force: true })
})

function check(management: string | undefined): { lines: Record<string, unknown>[]; check: QueueCheck } {
  const lines: Record<string, unknown>[] = []
  const log = pino({}, { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) })
  const asked =
    management === undefined
      ? undefined
      : brokerManagement({ url: management, brokerUrl: rabbit.urlFor('cloud'), clock: systemClock })
  const check = startQueueCheck({ management: asked, queues: () => topology.queues, clock: systemClock, log })
  checks.push(check)
  return { lines, check }
}

const watcher = (): string => `http://watcher:${encodeURIComponent('p@ss/word')}@127.0.0.1:${port}`

describe('the look at what is in effect for the queues', () => {
  test('tells one warning for each finding, with the queues and the policy, and counts them (G3, G5)', async () => {
    const quiet = check(watcher())
    await vi.waitFor(() => expect(quiet.check.findings).toEqual({ loss: 0, harmless: 0 }), {
      timeout: 20_000,
    })
    expect(quiet.lines).toEqual([])
    const partitions = JSON.stringify({ 'message-ttl': 86_400_000, 'max-length': 100_000 })
    await rabbit.ctl(['set_policy', 'tidy', String.raw`^g\.0`, partitions, '--apply-to', 'queues'])
    const operator = JSON.stringify({ expires: 1_800_000 })
    await rabbit.ctl(['set_operator_policy', 'idle', '^g.retry.5s$', operator, '--apply-to', 'queues'])
    // RabbitMQ tells the API of it within some seconds.
    await vi.waitFor(
      async () => {
        const { check: again, lines } = check(watcher())
        await vi.waitFor(() => expect(again.findings).toEqual({ loss: 3, harmless: 2 }), { timeout: 2000 })
        const told = lines.map(({ code, severity, policies, queues }) => ({
          code,
          severity,
          policies,
          queues,
        }))
        const both = ['g.00.v2', 'g.01.v2']
        expect(told).toEqual([
          { code: 'POLICY_MESSAGE_TTL', severity: 'loss', policies: ['tidy'], queues: both },
          { code: 'POLICY_LIMIT', severity: 'harmless', policies: ['tidy'], queues: both },
          { code: 'POLICY_EXPIRES', severity: 'loss', policies: ['idle'], queues: ['g.retry.5s'] },
        ])
      },
      { timeout: 25_000 },
    )
  }, 60_000)

  test('is told of as impossible without the setting', () => {
    const { check: none, lines } = check(undefined)
    expect(none.findings).toBeUndefined()
    expect(lines).toMatchObject([{ msg: expect.stringContaining('cannot be seen') as string }])
  })

  test.each([
    ['a user without the tag', () => `http://cloud:cloud@127.0.0.1:${port}`, 'MANAGEMENT_REFUSED'],
    ['a wrong password', () => `http://watcher:wrong@127.0.0.1:${port}`, 'MANAGEMENT_REFUSED'],
    ['nobody there', () => 'http://watcher:x@127.0.0.1:1', 'MANAGEMENT_UNREACHABLE'],
  ])('with %s is one warning and nothing else', async (_, url, code) => {
    const { check: one, lines } = check(url())
    await vi.waitFor(() => expect(lines).toHaveLength(1), { timeout: 10_000 })
    expect(lines[0]).toMatchObject({ code, level: 40 })
    expect(JSON.stringify(lines)).not.toMatch(/wrong|watcher/)
    expect(one.findings).toBeUndefined()
  })

  test('an answer without an end is cut off, and holds up no stop (G7)', async () => {
    const server = createServer((_, response) => {
      const more = (): void => {
        if (!response.destroyed) response.write('x'.repeat(65_536), more)
      }
      more()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { lines } = check(`http://a:b@127.0.0.1:${(server.address() as AddressInfo).port}`)
    await vi.waitFor(() => expect(lines).toMatchObject([{ code: 'MANAGEMENT_UNREACHABLE' }]))
    server.closeAllConnections()
    server.close()
  })
})
