import { describe, test } from 'vitest'
import { seededRandom } from '../../dev/fleet/random.ts'
import { systemClock } from '../../src/clock.ts'
import { useRig } from './rig.ts'

const eventsPerSecond = Number(process.env['TIDEGATE_KILL_RATE'] ?? 1000)
/** `TIDEGATE_KILL_RATE=2000 TIDEGATE_KILL_CYCLES=200 npx vitest run test/fault/kill.test.ts -t 'hash chain'` for a long run. */
const cycles = Number(process.env['TIDEGATE_KILL_CYCLES'] ?? 5)
const seed = Number(process.env['TIDEGATE_KILL_SEED'] ?? Date.now() % 1_000_000)

const rig = useRig()

/** Each test puts a fleet to work, takes a part away, and demands every event once. */
describe('every acknowledged event reaches the history exactly once', () => {
  test('although the edge is killed with -9 under load (G1)', async () => {
    const run = await rig.run({ eventsPerSecond })
    await run.until('events flow', ({ stored }) => stored > 1000)
    await rig.stack.edge.kill('SIGKILL')
    await rig.stack.edge.start()
    const { acknowledged } = run.fleet.book.totals()
    await run.until('the fleet goes on', (snapshot) => snapshot.acknowledged > acknowledged + 1000)
    await run.balanced()
  }, 180_000)

  test('although the cloud is killed with -9 under load (G4)', async () => {
    const run = await rig.run({ eventsPerSecond })
    await run.until('events flow', ({ stored }) => stored > 1000)
    await rig.stack.clouds[0]?.kill('SIGKILL')
    const { acknowledged } = run.fleet.book.totals()
    await run.until(
      'the edge does not wait for the cloud',
      (snapshot) => snapshot.acknowledged > acknowledged + 500,
    )
    await rig.stack.clouds[0]?.start()
    await run.balanced()
  }, 180_000)

  test('although RabbitMQ stops and starts', async () => {
    const run = await rig.run({ eventsPerSecond })
    await run.until('events flow', ({ stored }) => stored > 1000)
    await rig.stack.rabbit?.stop()
    await run.until('events wait in the outbox', ({ buffered }) => buffered > 1000)
    await rig.stack.rabbit?.start()
    await run.balanced()
  }, 180_000)

  test('although PostgreSQL stops and starts (G4)', async () => {
    const run = await rig.run({ eventsPerSecond })
    await run.until('events flow', ({ stored }) => stored > 1000)
    await rig.stack.postgres?.stop()
    const { acknowledged } = run.fleet.book.totals()
    await run.until('the fleet does not notice', (snapshot) => snapshot.acknowledged > acknowledged + 1000)
    await rig.stack.postgres?.start()
    await run.balanced()
  }, 180_000)
})

describe(`an edge killed with -9 ${cycles} times at random moments under load (seed ${seed})`, () => {
  test(
    'loses nothing, repeats nothing, and its hash chain holds (G1)',
    async () => {
      const random = seededRandom(seed)
      const run = await rig.run({ eventsPerSecond })
      for (let cycle = 1; cycle <= cycles; cycle++) {
        const { acknowledged } = run.fleet.book.totals()
        await run.until('devices are acknowledged', (snapshot) => snapshot.acknowledged > acknowledged + 100)
        // The moment of the kill is the experiment: anywhere in the next third of a second.
        await systemClock.sleep(random() * 300)
        await rig.stack.edge.kill('SIGKILL')
        await rig.stack.edge.start()
      }
      const report = await run.balanced()
      console.log(
        `${cycles} kills: acknowledged ${report.acknowledged}, stored ${report.stored}, missing ${report.missing}, ` +
          `stored twice ${report.storedTwice}, sent again ${report.resent}; audit: ${report.audit.detail}`,
      )
    },
    60_000 + cycles * 10_000,
  )
})
