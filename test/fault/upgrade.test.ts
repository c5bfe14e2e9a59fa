import { Client } from 'pg'
import { Connection } from 'rabbitmq-client'
import { expect, test } from 'vitest'
import { scrape } from '../../dev/watch/scrape.ts'
import { systemClock } from '../../src/clock.ts'
import { partitionQueue } from '../../src/contract/wire.ts'
import type { Program } from '../../dev/stack/processes.ts'
import { declareFormerQueues } from '../support/cloud/former-queues.ts'
import { useRig } from './rig.ts'

/** The suite has ten minutes for everything; more by itself: `TIDEGATE_UPGRADE_RATE=2000 npx vitest run test/fault/upgrade.test.ts`. */
const eventsPerSecond = Number(process.env['TIDEGATE_UPGRADE_RATE'] ?? 500)
const partitions = 4
const groups = [{ group: 'history', types: ['#', 'dev.tidegate.#'] }]
const waiting = { timeout: 60_000 }
const rig = useRig({
  clouds: 2,
  partitions,
  cloudConfig: { sharing: { beat: '200ms', goneAfter: '1s' }, log: { level: 'debug' } },
})

/** What the edge says at its start, of its schemas and with its signature, is in history and not in queues that are about to be deleted. */
async function startIsStored(): Promise<void> {
  const client = new Client({ connectionString: rig.stack.databaseUrl })
  await client.connect()
  try {
    await expect
      .poll(async () => {
        const { rows } = await client.query<{ count: number }>(
          'select count(*)::int as count from tidegate.events',
        )
        const metrics = await scrape(`${rig.stack.edgeOps}/metrics`, AbortSignal.timeout(5000))
        const sequence = metrics?.value('tidegate_edge_ledger_sequence') ?? 0
        return sequence >= 2 && rows[0]?.count === sequence
      }, waiting)
      .toBe(true)
  } finally {
    await client.end()
  }
}

/** The broker as a former version left it. */
async function asBefore(): Promise<void> {
  const url = rig.stack.amqpUrl
  const connection = new Connection({ url })
  for (const { group } of groups) {
    for (let partition = 0; partition < partitions; partition++)
      await connection.queueDelete(partitionQueue(group, partition))
  }
  for (const group of groups) await declareFormerQueues(url, { ...group, partitions })
  await connection.close()
}

/** Starts a cloud and kills it with -9 when its log tells of this step. */
async function killAt(cloud: Program, step: string): Promise<void> {
  cloud.newLines()
  let over = false
  const started = cloud.start().catch(() => (over = true))
  while (!cloud.newLines().some((line) => line.includes(`"step":"${step}"`))) {
    if (over) throw new Error(`the cloud ended before the step ${step}`)
    await systemClock.sleep(10)
  }
  await cloud.kill('SIGKILL')
  await started
}

test('an upgrade of queues under load, killed with -9 on its way, loses nothing (G3, G5)', async () => {
  const [first, second] = rig.stack.clouds
  if (!first || !second) throw new Error('two clouds are needed')
  await startIsStored()
  await Promise.all([first.stop(), second.stop()])
  await asBefore()
  const run = await rig.run({ eventsPerSecond })
  await run.until('former queues fill', ({ forwarded }) => forwarded > 3 * eventsPerSecond)
  // Killed at a later step it would drain twice what the fleet publishes meanwhile; test/contract does that.
  for (const step of ['bound', 'unbound']) await killAt(first, step)
  await Promise.all([first.start(), second.start()])
  for (const ops of rig.stack.cloudOps) {
    await expect
      .poll(
        async () => {
          const metrics = await scrape(`${ops}/metrics`, AbortSignal.timeout(5000))
          return metrics?.value('tidegate_cloud_former_queues', { state: 'draining' })
        },
        // At 2,000 events/s on a busy machine the former queues drain for minutes.
        { timeout: 240_000 },
      )
      .toBe(0)
  }
  const { stored } = await run.until('new queues are looked at', () => true)
  await run.until('new queues flow', (snapshot) => snapshot.stored > stored + eventsPerSecond)
  await run.balanced()
}, 600_000)
