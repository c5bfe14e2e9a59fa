import { describe, test } from 'vitest'
import { seededRandom } from '../../dev/fleet/random.ts'
import { systemClock } from '../../src/clock.ts'
import { useRig } from './rig.ts'

/** `TIDEGATE_KILL_CYCLES=200 npx vitest run test/fault/kill-loop.test.ts` for a long run. */
const cycles = Number(process.env['TIDEGATE_KILL_CYCLES'] ?? 10)
const seed = Number(process.env['TIDEGATE_KILL_SEED'] ?? Date.now() % 1_000_000)

describe(`an edge killed with -9 ${cycles} times at random moments under load (seed ${seed})`, () => {
  const rig = useRig()

  test(
    'loses nothing, repeats nothing, and its hash chain holds (G1)',
    async () => {
      const random = seededRandom(seed)
      const run = await rig.run({ eventsPerSecond: 2000 })
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
