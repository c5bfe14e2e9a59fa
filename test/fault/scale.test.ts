import { Client } from 'pg'
import { describe, expect, test } from 'vitest'
import { useRig } from './rig.ts'

async function rowsOf<Row extends object>(url: string, sql: string): Promise<Row[]> {
  const client = new Client(url)
  await client.connect()
  try {
    return (await client.query<Row>(sql)).rows
  } finally {
    await client.end()
  }
}

/** Events of one device and lane that were stored before one with a lower sequence (G6); alarms go in the high lane. */
const outOfOrder = `
  select source, sequence, before from (
    select source, sequence, lag(sequence) over (partition by source, type like '%.alarm' order by position) as before
    from tidegate.events where source like '/devices/%') as placed
  where before > sequence`

async function deliveriesOf(ops: string): Promise<number> {
  const response = await fetch(`${ops}/metrics`).catch(() => undefined)
  const text = (await response?.text()) ?? ''
  return text
    .split('\n')
    .filter((line) => line.startsWith('tidegate_cloud_deliveries_total{group="history"'))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

describe('two cloud processes side by side', () => {
  // Live events may overtake a backlog on purpose; here nothing may overtake anything.
  const rig = useRig({ clouds: 2, edgeConfig: { uplink: { catchUp: 'in-order' } } })

  test('share the partitions, keep each device in order, and lose nothing when one is killed (G6)', async () => {
    const run = await rig.run({ eventsPerSecond: 1000 })
    // Who comes second is given its partitions by the next beat, however much has been stored by then.
    let shares: number[] = [0]
    for (let events = 1000; shares.includes(0); events += 500) {
      await run.until('events flow', ({ stored }) => stored > events)
      shares = await Promise.all(rig.stack.cloudOps.map(deliveriesOf))
    }

    await rig.stack.clouds[0]?.kill('SIGKILL')
    const { stored } = await run.until('the other is seen', () => true)
    await run.until('the other has taken over', (snapshot) => snapshot.stored > stored + 2000)
    await run.balanced()
    expect(await rowsOf(rig.stack.databaseUrl, outOfOrder)).toEqual([])
  }, 180_000)
})
