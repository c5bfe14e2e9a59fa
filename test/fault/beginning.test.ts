import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { type CloudBench, openCloudBench } from '../support/cloud/cloud.ts'
import { Ledger } from '../support/cloud/cloud-events.ts'
import { startCloudProgram } from '../support/cloud/cloud-program.ts'

const until = <T>(check: () => Promise<T>): Promise<T> => vi.waitFor(check, { timeout: 40_000, interval: 50 })

/** Leaves a row each time it runs, and takes its time, so that there is a middle in which the cloud can die. */
const newcomer = `
export default {
  group: 'newcomer',
  types: ['#'],
  from: 'beginning',
  async handle(event, { tx, replay }) {
    await tx.query('insert into public.had (device, sequence, of_history) values ($1, $2, $3)',
      [event.partitionkey, event.sequence, replay?.of === 'history'])
    await new Promise((done) => setTimeout(done, 2))
  },
}`

let bench: CloudBench
beforeEach(async () => {
  bench = await openCloudBench()
  await bench.rows(`create table public.had (n bigint generated always as identity, device text, sequence bigint, of_history boolean);
    grant select, insert on public.had to public`)
})
afterEach(() => bench.close())

test('a new group has all of history and then what comes, in the order of each device, without a gap or a repeat, while events come all the while and its cloud is killed in the middle (G4, G5, G6)', async () => {
  await bench.start({ consumers: ['history'] })
  const ledger = new Ledger()
  const devices = Array.from({ length: 8 }, (_, index) => `device-${index}`)
  const publishSome = (each: number): Promise<void> =>
    bench.publish(Array.from({ length: each }, () => devices.map((device) => ledger.next(device))).flat())
  await publishSome(75)
  await until(async () =>
    expect(await bench.rows(`select from tidegate.events where gateway = 'gateway-1'`)).toHaveLength(600),
  )

  const sending = new AbortController()
  const sent = (async () => {
    while (!sending.signal.aborted) {
      await bench.publish([ledger.next(devices[ledger.sequence % devices.length] as string)])
      await systemClock.sleep(20)
    }
  })()
  const config = (): object =>
    bench.config({ consumers: ['history', { module: bench.module(newcomer) }], retry: { ladder: ['100ms'] } })
  const count = async (): Promise<number> =>
    (await bench.rows<{ had: number }>('select count(*)::int as had from public.had'))[0]?.had ?? 0

  const first = startCloudProgram(config())
  await first.started
  await until(async () => expect(await count()).toBeGreaterThan(150))
  await first.kill()
  expect(await count()).toBeLessThan(600)
  // As after the time of the lease.
  await bench.rows(`update tidegate.replays set claimed_until = now() where source = 'start'`)
  const second = startCloudProgram(config())
  await second.started
  try {
    await until(async () =>
      expect(await bench.rows(`select from public.had where not of_history limit 1`)).toHaveLength(1),
    )
    await systemClock.sleep(300)
    sending.abort()
    await sent
    await until(async () => expect(await count()).toBe(ledger.sequence))
  } finally {
    sending.abort()
    await second.kill()
  }
  const rows = await bench.rows<{ device: string; sequence: number }>(
    'select device, sequence::int as sequence from public.had order by n',
  )
  expect(new Set(rows.map(({ sequence }) => sequence)).size).toBe(ledger.sequence)
  for (const device of devices) {
    const sequences = rows.filter((one) => one.device === device).map(({ sequence }) => sequence)
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b))
  }
  expect(
    await bench.rows(
      `select state, source, looked = total as whole from tidegate.replays where source = 'start'`,
    ),
  ).toEqual([{ state: 'done', source: 'start', whole: true }])
  expect(await bench.rows(`select actor, verb from tidegate.deeds`)).toEqual([
    { actor: 'tidegate', verb: 'begin-group' },
  ])
}, 180_000)
