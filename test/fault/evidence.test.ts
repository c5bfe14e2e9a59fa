import { existsSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, expect, test } from 'vitest'
import { countMessages } from '../../dev/watch/queues-rabbit.ts'
import { listQueues } from '../../dev/evidence/evidence.ts'
import type { Report } from '../../dev/report/report.ts'
import type { RabbitServer } from '../../dev/servers/rabbit/rabbit.ts'
import { lookIntoQueues } from '../../dev/evidence/search-rabbit.ts'
import type { See } from '../../dev/evidence/search.ts'
import { kindOf, type Located } from '../../dev/evidence/whereabouts.ts'
import { systemClock } from '../../src/clock.ts'
import { messageOf } from '../../src/errors.ts'
import { createRig, type Run } from './rig.ts'

/** Not the usual hooks: what they do after a test that failed is what is tested here. */
const said: string[] = []
const keeper = createRig({}, (text) => said.push(text))
const { rig } = keeper
const kept: string[] = []
afterEach(async () => {
  await keeper.end()
  for (const dir of kept.splice(0)) rmSync(dir, { recursive: true, force: true })
})
afterAll(() => keeper.end())

const patienceMs = 2000

interface Evidence {
  report: Report
  located: Located[]
}

/** What a failing assertion says, and what is written beside it. */
async function unbalanced(run: Run): Promise<{ message: string; dir: string; told: Evidence }> {
  const { dir } = rig.stack
  kept.push(dir)
  const message = await run.balanced().then(() => 'the books balance', messageOf)
  const told = JSON.parse(readFileSync(join(dir, 'evidence.json'), 'utf8')) as Evidence
  return { message, dir, told }
}

const theRabbit = (): RabbitServer => rig.stack.rabbit as RabbitServer

interface Waiting {
  queue: string
  messages: number
  /** In those: a batch holds several. */
  events: number
}

/** Partition queues of the history that hold something. */
async function waiting(): Promise<Waiting[]> {
  const url = rig.stack.amqpUrl
  const queues = (await listQueues(theRabbit())).filter(isPartitionOfHistory)
  const counts = await countMessages(url, queues, systemClock)
  const events = new Map<string, number>()
  const see: See = (_, sighting) => {
    if ('queue' in sighting) events.set(sighting.queue, (events.get(sighting.queue) ?? 0) + 1)
  }
  await lookIntoQueues(
    { url, queues, groups: ['history'], clock: systemClock },
    see,
    new AbortController().signal,
  )
  return counts
    .filter(({ messages }) => messages > 0)
    .map((count) => ({ ...count, events: events.get(count.queue) ?? 0 }))
}

function isPartitionOfHistory(name: string): boolean {
  const kind = kindOf(name, ['history'])
  return kind.kind === 'queue' && kind.group === 'history'
}

/** The cloud is away, and everything that was published waits for it in the queues. */
async function untilAllWaitsForTheCloud(run: Run): Promise<void> {
  await run.until('events are stored', ({ stored }) => stored > 200)
  await rig.stack.clouds[0]?.stop()
  const { forwarded } = await run.until('it is seen', () => true)
  await run.until('events wait in the queues', (snapshot) => snapshot.forwarded > forwarded + 200)
  run.fleet.stop()
  await run.until(
    'everything is forwarded',
    ({ buffered, acknowledged, published }) => buffered === 0 && acknowledged === published,
  )
}

const sum = (queues: readonly Waiting[]): number => queues.reduce((total, { events }) => total + events, 0)

test('events that were thrown away in a queue are called lost, by name, and the folder of the test is kept (G8)', async () => {
  await keeper.begin()
  const run = await rig.run({ eventsPerSecond: 200, patienceMs })
  await untilAllWaitsForTheCloud(run)
  const [full] = await waiting()
  if (!full) throw new Error('nothing waits')
  await theRabbit().ctl(['purge_queue', full.queue])
  await rig.stack.clouds[0]?.start()

  const { message, dir, told } = await unbalanced(run)
  expect(message).toMatch(new RegExp(`${full.events}  nowhere: it is lost`))
  expect(message).toContain(`lie in ${dir}`)
  expect(message).toContain(`tidegate outbox inspect --data-dir ${join(dir, 'edge')}`)
  expect(told.report).toMatchObject({ balanced: false, missing: full.events })
  expect(told.report.evidence).toMatchObject({ blind: [], searched: full.events })
  expect(told.located).toHaveLength(full.events)
  expect(new Set(told.located.map(({ where }) => where))).toEqual(new Set(['nowhere']))
  expect(told.report.missingEvents[0]).toMatchObject({ where: 'nowhere', words: 'nowhere: it is lost' })

  await keeper.afterTest(true)
  expect(said.at(-1)).toMatch(/nowhere: it is lost/)
  await keeper.begin()
  expect(rig.stack.dir).not.toBe(dir)
  const next = dirname(rig.stack.logs.edge)
  await keeper.end()
  expect(existsSync(next)).toBe(false)
  for (const left of ['edge', 'rabbit', 'postgres', 'logs', 'evidence.json'])
    expect(existsSync(join(dir, left))).toBe(true)
}, 300_000)

test('events that wait in a queue or in the outbox are told to be there, with their place in the ledger, and stay there (G8)', async () => {
  await keeper.begin()
  const run = await rig.run({ eventsPerSecond: 200, patienceMs })
  await run.until('events are stored', ({ stored }) => stored > 200)
  await rig.stack.clouds[0]?.stop()
  const { forwarded } = await run.until('it is seen', () => true)
  await run.until('events wait in the queues', (snapshot) => snapshot.forwarded > forwarded + 200)
  rig.link.set({ kind: 'down' })
  await run.until('events wait in the outbox', ({ buffered }) => buffered > 200)

  const { message, told } = await unbalanced(run)
  const queues = await waiting()
  const of = (where: string): Located[] => told.located.filter((one) => one.where === where)
  expect(told.report.evidence?.blind).toEqual([])
  expect(told.located).toHaveLength(told.report.missing)
  expect(of('queue').length + of('outbox').length).toBe(told.report.missing)
  expect(of('queue').length).toBe(sum(queues))
  expect(of('outbox').length).toBeGreaterThan(150)
  for (const { words } of of('outbox'))
    expect(words).toMatch(/^in the gateway’s outbox \(epoch [0-9A-Z]{26}, sequence \d+\)$/)
  for (const { queue, messages } of queues) {
    expect(told.report.evidence?.looked).toContainEqual({ place: queue, holds: messages, looked: messages })
    expect(message).toContain(`in the partition queue ${queue}`)
  }
  expect(message).toContain('in the gateway’s outbox')
  expect(message).not.toContain('lost')
}, 300_000)

test('a test that fails before it balances its books leaves its folder, and nothing runs on it', async () => {
  await keeper.begin()
  const { dir } = rig.stack
  kept.push(dir)
  await rig.run({ eventsPerSecond: 50 })
  await keeper.afterTest(true)
  expect(said.at(-1)).toContain(`lie in ${dir}`)
  expect(() => rig.stack).toThrow('no test has begun')
  expect(existsSync(join(dir, 'logs', 'edge.log'))).toBe(true)
  expect(existsSync(join(dir, 'rabbit', 'lock'))).toBe(false)
}, 120_000)
