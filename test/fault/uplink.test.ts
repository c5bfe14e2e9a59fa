import { describe, expect, test, vi } from 'vitest'
import { useRig } from './rig.ts'

const eventsPerSecond = 300

/** What an uplink does in a year, in a minute. The edge goes on acknowledging through all of it. */
describe('every acknowledged event reaches the history exactly once', () => {
  const rig = useRig({
    edgeConfig: { uplink: { confirmTimeout: '3s' } },
  })

  test('although the edge starts where no RabbitMQ is, and RabbitMQ appears later', async () => {
    const run = await rig.run({ eventsPerSecond })
    await rig.stack.edge.stop()
    await rig.stack.rabbit?.stop()
    await rig.stack.edge.start()
    await run.until('events wait in the outbox', ({ buffered, uplinkUp }) => buffered > 300 && !uplinkUp)
    await rig.stack.rabbit?.start()
    await run.balanced()
  }, 300_000)

  test('although the link is cut again and again (G3)', async () => {
    const run = await rig.run({ eventsPerSecond })
    for (let cut = 0; cut < 3; cut++) {
      await run.until('the uplink is up', ({ uplinkUp }) => uplinkUp)
      rig.link.set({ kind: 'down' })
      await run.until('the uplink is down', ({ uplinkUp }) => !uplinkUp)
      rig.link.set({ kind: 'up' })
    }
    await run.balanced()
  }, 300_000)

  test('although the link goes half-open: nothing passes and nobody is told (G3)', async () => {
    const run = await rig.run({ eventsPerSecond })
    await run.until('events flow', ({ stored }) => stored > 200)
    rig.link.set({ kind: 'stalled' })
    await run.until('the edge notices by itself', ({ uplinkUp, buffered }) => !uplinkUp && buffered > 200)
    rig.link.set({ kind: 'up' })
    await run.balanced()
  }, 300_000)

  test('although the link is slow: 200 ms and 50 kB/s', async () => {
    const run = await rig.run({ eventsPerSecond })
    rig.link.set({ kind: 'slow', latencyMs: 200, bytesPerSecond: 50_000 })
    await run.until('events wait in the outbox', ({ buffered }) => buffered > 500)
    const { forwarded } = await run.until('it is seen', () => true)
    await run.until('some get through', (snapshot) => snapshot.forwarded > forwarded + 50)
    rig.link.set({ kind: 'up' })
    await run.balanced()
  }, 300_000)

  test('although the broker is out of disk and blocks its publishers', async () => {
    const run = await rig.run({ eventsPerSecond })
    await run.until('events flow', ({ stored }) => stored > 200)
    await rig.stack.rabbit?.ctl(['set_disk_free_limit', '100000GB'])
    await vi.waitFor(
      async () => expect(await rig.stack.rabbit?.ctl(['list_connections', 'state'])).toMatch(/^blocked$/m),
      20_000,
    )
    await run.until('events wait in the outbox', ({ buffered }) => buffered > 500)
    await rig.stack.rabbit?.ctl(['set_disk_free_limit', '50MB'])
    await run.balanced()
  }, 300_000)

  test('although RabbitMQ is killed with -9 while confirms are outstanding (G3)', async () => {
    const run = await rig.run({ eventsPerSecond: 2000 })
    await run.until('events flow', ({ stored }) => stored > 500)
    // Half a second away, a thousand events are under way or confirmed without the gateway knowing.
    rig.link.set({ kind: 'slow', latencyMs: 500, bytesPerSecond: 100_000_000 })
    await vi.waitFor(
      async () => expect(await rig.edgeMetric('tidegate_edge_outbox_in_flight_events')).toBeGreaterThan(500),
      20_000,
    )
    await rig.stack.rabbit?.kill()
    rig.link.set({ kind: 'up' })
    await rig.stack.rabbit?.start()
    await run.balanced()
  }, 300_000)

  test('although the edge is stopped for a while and goes on', async () => {
    const run = await rig.run({ eventsPerSecond })
    await run.until('events flow', ({ stored }) => stored > 200)
    await rig.stack.edge.kill('SIGSTOP')
    await run.until('the edge does not answer', ({ uplinkUp }) => !uplinkUp)
    await rig.stack.edge.kill('SIGCONT')
    await run.balanced()
  }, 300_000)

  test('although the cloud is stopped for a while and goes on', async () => {
    const run = await rig.run({ eventsPerSecond })
    await run.until('events flow', ({ stored }) => stored > 200)
    await rig.stack.clouds[0]?.kill('SIGSTOP')
    const { acknowledged } = run.fleet.book.totals()
    await run.until('the fleet does not notice', (snapshot) => snapshot.acknowledged > acknowledged + 300)
    await rig.stack.clouds[0]?.kill('SIGCONT')
    await run.balanced()
  }, 300_000)
})
