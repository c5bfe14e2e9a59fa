import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { command } from '../support/cloud/audited-database.ts'
import type { SteppedCloud } from '../support/cloud/cloud-program.ts'
import { type Mechanism, mechanisms } from '../support/cloud/killed-mechanisms.ts'
import { openSteppedWorld, type SteppedWorld } from '../support/cloud/stepped-world.ts'
import type { Moment } from '../support/programs/step-by-step.ts'

/** `TIDEGATE_KILL_STEPS=all npx vitest run test/fault/cloud-steps.test.ts`: before and after each of them. */
const isAll = process.env['TIDEGATE_KILL_STEPS'] === 'all'

/** In the suite: behind each commit, message and acknowledgement, where whoever looks next may believe what is not so. */
const ofTheSuite = /^(commit|publish|ack) /

/** What comes at its own times, whatever is asked for, and so is no step of a mechanism. */
const background = [
  /^(begin|show|set|rollback) ?/,
  // Once in the life of a database.
  /own-ledger-begin/,
  // Once an hour, and for each group once.
  /inbox[-_](weeks|group)/,
  // Another group's, which has its own tests; a deed writes the cloud's ledger by the same statements, between two steps of its own.
  /history/,
  // Looks of every second: who holds what is seen by the next step. And the heartbeat of a group, its state and its bounds.
  /tidegate\.replays set claim = \$1|u\.epoch, u\.sequence|case when until|with (counts|mine|gone) as/,
  /parking-(claim|occupancy)/,
  /tidegate\.(members|gateways|gateway_names|gateway_keys|failure_groups where|prepare_inbox|forget_inbox)/,
  // Who is registered, and what the test itself asks for.
  /select (name, state|gateway, fingerprint|former, gateway|r\.replay|gateway, device)/,
]

let world: SteppedWorld
let cloud: SteppedCloud
beforeAll(async () => {
  world = await openSteppedWorld()
  cloud = await world.startCloud()
}, 120_000)
afterAll(() => world.close())

const until = (check: () => Promise<void>): Promise<void> =>
  vi.waitFor(check, { interval: 25, timeout: 20_000 })

describe('a cloud that is killed with -9 at each step of', () => {
  test.each(mechanisms.map((mechanism) => [mechanism.name, mechanism] as const))(
    '%s: each letter is there once, each effect has happened once, the books balance and the chain holds (G4, G5, G8)',
    async (_, mechanism) => {
      const steps = await stepsOf(mechanism)
      console.log([`${mechanism.name}:`, ...steps.map((step, index) => `${index + 1}. ${step}`)].join('\n  '))
      for (const step of steps) {
        if (isAll) await killedAt(mechanism, step, 'before')
        if (isAll || ofTheSuite.test(step)) await killedAt(mechanism, step, 'after')
      }
      expect(await books()).toEqual(balanced())
      await chainHolds()
    },
    isAll ? 600_000 : 120_000,
  )
})

/** In the order in which they come first: what has been added to a mechanism is among them. */
async function stepsOf({ prepare, own = /^/ }: Mechanism): Promise<string[]> {
  const { act, settled } = await prepare(world)
  await quiet()
  await act()
  await until(settled)
  const steps = (await quiet()).filter((step) => own.test(step))
  expect(steps.length).toBeGreaterThan(1)
  return steps
}

async function killedAt({ name, prepare }: Mechanism, step: string, moment: Moment): Promise<void> {
  const { act, askAgain, settled } = await prepare(world)
  await quiet()
  cloud.dieAt(step, moment)
  // Who asks a cloud that dies has no answer.
  await act().catch(() => {})
  await until(async () => expect(cloud.child.signalCode, `${step} does not come`).toBe('SIGKILL'))
  await world.letLeasesEnd()
  cloud = await world.startCloud()
  await askAgain?.()
  await until(settled).catch((error: unknown) => {
    throw new Error(`${name}, killed ${moment} ${step}`, { cause: error })
  })
}

/** The steps since the last call, when no more of them come. */
async function quiet(): Promise<string[]> {
  const steps = new Set<string>()
  for (let count = -1; steps.size > count;) {
    count = steps.size
    await systemClock.sleep(150)
    for (const step of cloud.stepsTaken()) if (!background.some((other) => other.test(step))) steps.add(step)
  }
  return [...steps]
}

async function books(): Promise<object> {
  const { deeds, deedsTold, ...rest } = await world.books()
  return { ...rest, deedsUntold: deeds - deedsTold }
}

function balanced(): object {
  return { twice: [], missing: [], openLetters: 0, deedsUntold: 0, stored: world.ledger.sequence }
}

/** Of the gateway and, as soon as there was a deed, of the cloud itself. */
async function chainHolds(): Promise<void> {
  const { deeds } = await world.books()
  const { code, stdout } = await command('audit', '--database', world.bench.databaseUrl)
  expect([code, stdout]).toEqual([0, expect.stringContaining(deeds > 0 ? ' tidegate-cloud ' : ' gateway-1 ')])
}
