import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { GroupStates } from './group-states.ts'
import type { Guard } from './guard.ts'

export interface WatchOptions {
  states: GroupStates
  guards: readonly { guard: Guard }[]
  everyMs: number
  clock: Clock
  log: Logger
}

/** Has every guard follow what the database says of its group, until it is closed. What it cannot read stays as it is. */
export function startWatching({ states, guards, everyMs, clock, log }: WatchOptions): {
  close(): Promise<void>
} {
  const stopping = new AbortController()
  let faulty = false
  let closing: Promise<void> | undefined

  async function follow(): Promise<void> {
    const askedAtMs = clock.monotonicMs()
    const { states: known, nowMs } = await states.read()
    for (const { guard } of guards) {
      await guard.follow(
        known.find(({ group }) => group === guard.group),
        nowMs,
        askedAtMs,
      )
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await follow()
        faulty = false
      } catch (error) {
        // Whoever shares the partitions has told of the outage in full.
        if (!faulty) log.info({ code: codeOf(error) }, `states of groups: ${messageOf(error)}`)
        faulty = true
      }
      try {
        await clock.sleep(everyMs, stopping.signal)
      } catch (error) {
        if (!isAbort(error)) throw error
      }
    }
  }

  async function close(): Promise<void> {
    stopping.abort()
    await running
    await Promise.all(guards.map(({ guard }) => guard.settled()))
  }

  const running = run()
  return { close: () => (closing ??= close()) }
}
