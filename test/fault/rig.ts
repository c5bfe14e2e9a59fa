import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect } from 'vitest'
import { renderEvidence } from '../../dev/evidence/text.ts'
import type { Link } from '../../dev/stack/link.ts'
import { scrape } from '../../dev/watch/scrape.ts'
import { type Report, renderBooks } from '../../dev/report/report.ts'
import type { Fleet } from '../../dev/fleet/fleet.ts'
import { ordinaryIds, ordinarySensors } from '../../dev/fleet/sensors.ts'
import { type Run as FleetRun, startRun } from '../../dev/run.ts'
import type { Snapshot } from '../../dev/watch/snapshot.ts'
import { type Stack, type StackOptions, startStack } from '../../dev/stack/stack.ts'
import { systemClock } from '../../src/clock.ts'

/** The whole of Tidegate as real processes on servers of its own, for one file of fault tests. */
export interface Rig {
  readonly stack: Stack
  /** Its servers are its own: there is always one in the way of the uplink. */
  readonly link: Link
  /** Sum of an edge's metric as it is now; NaN while the edge does not answer. */
  edgeMetric(name: string): Promise<number>
  /** Puts a fleet to work; the next one may begin when this one's books are balanced. */
  run(options: RunOptions): Promise<Run>
}

/** What happens to a rig around the tests of a file. */
export interface RigKeeper {
  readonly rig: Rig
  /** A stack is there: the one of the test before, unless that failed. */
  begin(): Promise<void>
  /**
   * Everything is up again for the next test. After one that failed, or whose books did not balance, everything is stopped instead, its folder
   * stays as it is, and the next test begins in another.
   */
  afterTest(failed: boolean): Promise<void>
  /** Stops everything, and removes the folder if nothing failed in it. */
  end(): Promise<void>
}

export interface RunOptions {
  eventsPerSecond: number
  devices?: number
  /** The end is not waited for any more when nothing has moved for so long; default: a minute. */
  patienceMs?: number
}

export interface Run {
  readonly fleet: Fleet
  /** Resolves when a snapshot says so. */
  until(what: string, holds: (snapshot: Snapshot) => boolean): Promise<Snapshot>
  /** Stops the fleet, drains, balances; expects every event to be stored once and the chain to hold. */
  balanced(): Promise<Report>
}

const deviceCount = 20
const happensWithinMs = 60_000

export function useRig(options: Partial<StackOptions> = {}): Rig {
  const keeper = createRig(options)
  beforeEach(() => keeper.begin(), 120_000)
  afterEach(({ task }) => keeper.afterTest(task.result?.state === 'fail'), 240_000)
  afterAll(() => keeper.end(), 60_000)
  return keeper.rig
}

export function createRig(options: Partial<StackOptions> = {}, say = sayAloud): RigKeeper {
  let stack: Stack | undefined
  // A test that failed half-way leaves no fleet at work for the next one, and nothing away.
  const open = new Set<FleetRun>()
  /** Books that are being balanced: a test that is out of time does not wait for them. */
  const balancing = new Set<Promise<Report>>()
  let unbalanced: Report | undefined

  function theStack(): Stack {
    if (!stack) throw new Error('the rig has no stack: no test has begun')
    return stack
  }

  async function closeRuns(): Promise<void> {
    for (const one of open) await one.close()
    open.clear()
  }

  async function leave(left: Stack): Promise<void> {
    stack = undefined
    await closeRuns()
    await left.close()
    say(unbalanced ? booksOf(unbalanced) : keptLine(left.dir))
    unbalanced = undefined
  }

  return {
    rig: rigOn(),
    async begin() {
      if (stack) return
      const dir = mkdtempSync(join(tmpdir(), 'tidegate-fault-'))
      // PostgreSQL does not run as root: its user must be able to reach its data.
      chmodSync(dir, 0o711)
      stack = await startStack({
        dir,
        devices: ordinaryIds(deviceCount),
        env: withoutGivenServers(),
        say: () => {},
        ...options,
      })
    },
    async afterTest(failed) {
      if (!stack) return
      if (failed) await Promise.allSettled(balancing)
      if (failed || unbalanced) return leave(stack)
      try {
        stack.link?.set({ kind: 'up' })
        await Promise.all([stack.rabbit?.start(), stack.postgres?.start()])
        await Promise.all([stack.edge, ...stack.clouds].map((program) => program.start()))
        await closeRuns()
      } catch (error) {
        await leave(stack)
        throw error
      }
    },
    async end() {
      if (!stack) return
      await killAll(stack)
      await stack.close()
      rmSync(stack.dir, { recursive: true, force: true })
      stack = undefined
      unbalanced = undefined
    },
  }

  function rigOn(): Rig {
    return {
      get stack() {
        return theStack()
      },
      get link() {
        const { link } = theStack()
        if (!link) throw new Error('the rig has no link')
        return link
      },
      async edgeMetric(name) {
        const metrics = await scrape(`${theStack().edgeOps}/metrics`, AbortSignal.timeout(5000))
        return metrics?.value(name) ?? NaN
      },
      async run({ eventsPerSecond, devices = deviceCount, patienceMs }) {
        const watchers = new Set<(snapshot: Snapshot) => void>()
        const fleetRun = await startRun({
          stack: theStack(),
          sensors: (run) => ordinarySensors({ run, seed: 1, count: devices, eventsPerSecond }),
          facts: { seed: 1, eventsPerSecond, mode: 'simulate', skippedRows: 0, versions: {} },
          ...(patienceMs !== undefined && { patienceMs }),
          env: withoutGivenServers(),
          clock: systemClock,
          onSnapshot: (snapshot) => watchers.forEach((watch) => watch(snapshot)),
          onNote: () => {},
        })
        open.add(fleetRun)
        return {
          fleet: fleetRun.fleet,
          until(what, holds) {
            return new Promise((resolve, reject) => {
              const timer = setTimeout(() => {
                watchers.delete(watch)
                reject(new Error(`never happened: ${what}`))
              }, happensWithinMs)
              const watch = (snapshot: Snapshot): void => {
                if (!holds(snapshot)) return
                clearTimeout(timer)
                watchers.delete(watch)
                resolve(snapshot)
              }
              watchers.add(watch)
            })
          },
          async balanced() {
            const report = await finish(fleetRun)
            await fleetRun.close()
            open.delete(fleetRun)
            expect(report, booksOf(report)).toMatchObject({
              balanced: true,
              missing: 0,
              storedTwice: 0,
              stored: report.acknowledged,
            })
            expect(report.acknowledged).toBe(report.published)
            expect(report.audit, report.audit.detail).toMatchObject({ kind: 'passed' })
            return report
          },
        }
      },
    }
  }

  /** Remembers what did not balance, also for who does not wait for it. */
  async function finish(fleetRun: FleetRun): Promise<Report> {
    const finishing = fleetRun.finish(AbortSignal.timeout(300_000)).then(({ report }) => {
      if (!report.balanced) unbalanced = report
      return report
    })
    balancing.add(finishing)
    try {
      return await finishing
    } finally {
      balancing.delete(finishing)
    }
  }
}

/** The folder goes as well: in it is nothing that a stop in good order would save. */
async function killAll({ edge, clouds, rabbit, postgres }: Stack): Promise<void> {
  await Promise.all([edge, ...clouds].map((program) => program.kill('SIGKILL')))
  await Promise.all([rabbit?.kill(), postgres?.kill()])
}

function booksOf(report: Report): string {
  return [
    renderBooks(report),
    ...(report.evidence ? [renderEvidence(report.evidence, report.missingEvents)] : []),
  ].join('\n')
}

function sayAloud(text: string): void {
  process.stderr.write(`${text}\n`)
}

function keptLine(dir: string): string {
  return `A test failed. Nothing was deleted: outbox, servers' data and logs lie in ${dir}`
}

/** A fault test stops and kills its servers: never ones that somebody else lent. */
function withoutGivenServers(): NodeJS.ProcessEnv {
  const { TIDEGATE_AMQP_URL: _amqp, TIDEGATE_PG_URL: _pg, ...env } = process.env
  return env
}
