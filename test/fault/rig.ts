import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import type { Link } from '../../dev/link.ts'
import { scrape } from '../../dev/metrics.ts'
import { type Report, renderBooks } from '../../dev/report.ts'
import { ordinaryIds, ordinarySensors } from '../../dev/sensors.ts'
import { type Session, startSession } from '../../dev/session.ts'
import type { Snapshot } from '../../dev/snapshot.ts'
import { type Stack, type StackOptions, startStack } from '../../dev/stack.ts'
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

export interface RunOptions {
  eventsPerSecond: number
  devices?: number
}

export interface Run {
  readonly session: Session
  /** Resolves when a snapshot says so. */
  until(what: string, holds: (snapshot: Snapshot) => boolean): Promise<Snapshot>
  /** Stops the fleet, drains, balances; expects every event to be stored once and the chain to hold. */
  balanced(): Promise<Report>
}

const deviceCount = 20
const patienceMs = 60_000

export function useRig(options: Partial<StackOptions> = {}): Rig {
  let stack: Stack
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-fault-'))
  // PostgreSQL does not run as root: its user must be able to reach its data.
  chmodSync(dir, 0o711)

  beforeAll(async () => {
    stack = await startStack({
      dir,
      devices: ordinaryIds(deviceCount),
      env: withoutGivenServers(),
      say: () => {},
      ...options,
    })
  }, 120_000)
  // A test that failed half-way leaves no fleet at work for the next one, and nothing away.
  const open = new Set<Session>()
  afterEach(async () => {
    stack.link?.set({ kind: 'up' })
    await Promise.all([stack.rabbit?.start(), stack.postgres?.start()])
    await Promise.all([stack.edge, ...stack.clouds].map((program) => program.start()))
    for (const session of open) await session.close()
    open.clear()
  })
  afterAll(async () => {
    await stack?.close()
    rmSync(dir, { recursive: true, force: true })
  }, 60_000)

  return {
    get stack() {
      return stack
    },
    get link() {
      if (!stack.link) throw new Error('the rig has no link')
      return stack.link
    },
    async edgeMetric(name) {
      const metrics = await scrape(`${stack.edgeOps}/metrics`, AbortSignal.timeout(5000))
      return metrics?.value(name) ?? NaN
    },
    async run({ eventsPerSecond, devices = deviceCount }) {
      const watchers = new Set<(snapshot: Snapshot) => void>()
      const session = await startSession({
        stack,
        sensors: (run) => ordinarySensors({ run, seed: 1, count: devices, eventsPerSecond }),
        facts: { seed: 1, eventsPerSecond, mode: 'simulate', skippedRows: 0, versions: {} },
        clock: systemClock,
        onSnapshot: (snapshot) => watchers.forEach((watch) => watch(snapshot)),
        onNote: () => {},
      })
      open.add(session)
      return {
        session,
        until(what, holds) {
          return new Promise((resolve, reject) => {
            const timer = setTimeout(() => {
              watchers.delete(watch)
              reject(new Error(`never happened: ${what}`))
            }, patienceMs)
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
          const { report } = await session.finish(AbortSignal.timeout(180_000))
          await session.close()
          open.delete(session)
          expect(report, renderBooks(report)).toMatchObject({
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

/** A fault test stops and kills its servers: never ones that somebody else lent. */
function withoutGivenServers(): NodeJS.ProcessEnv {
  const { TIDEGATE_AMQP_URL: _amqp, TIDEGATE_PG_URL: _pg, ...env } = process.env
  return env
}
