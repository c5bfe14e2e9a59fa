import { describe, test } from 'vitest'
import { useRig } from './rig.ts'

const eventsPerSecond = 2000

/** Each test puts a fleet to work at 2,000 events/s, takes a part away, and demands every event once. */
describe('every acknowledged event reaches the history exactly once', () => {
  const rig = useRig()

  test('although the edge is killed with -9 under load (G1)', async () => {
    const run = await rig.run({ eventsPerSecond })
    await run.until('events flow', ({ stored }) => stored > 2000)
    await rig.stack.edge.kill('SIGKILL')
    await rig.stack.edge.start()
    const { acknowledged } = run.fleet.book.totals()
    await run.until('the fleet goes on', (snapshot) => snapshot.acknowledged > acknowledged + 2000)
    await run.balanced()
  }, 180_000)

  test('although the cloud is killed with -9 under load (G4)', async () => {
    const run = await rig.run({ eventsPerSecond })
    await run.until('events flow', ({ stored }) => stored > 2000)
    await rig.stack.clouds[0]?.kill('SIGKILL')
    const { acknowledged } = run.fleet.book.totals()
    await run.until(
      'the edge does not wait for the cloud',
      (snapshot) => snapshot.acknowledged > acknowledged + 1000,
    )
    await rig.stack.clouds[0]?.start()
    await run.balanced()
  }, 180_000)

  test('although RabbitMQ stops and starts', async () => {
    const run = await rig.run({ eventsPerSecond })
    await run.until('events flow', ({ stored }) => stored > 2000)
    await rig.stack.rabbit?.stop()
    await run.until('events wait in the outbox', ({ buffered }) => buffered > 2000)
    await rig.stack.rabbit?.start()
    await run.balanced()
  }, 180_000)

  test('although PostgreSQL stops and starts (G4)', async () => {
    const run = await rig.run({ eventsPerSecond })
    await run.until('events flow', ({ stored }) => stored > 2000)
    await rig.stack.postgres?.stop()
    const { acknowledged } = run.fleet.book.totals()
    await run.until('the fleet does not notice', (snapshot) => snapshot.acknowledged > acknowledged + 2000)
    await rig.stack.postgres?.start()
    await run.balanced()
  }, 180_000)
})
