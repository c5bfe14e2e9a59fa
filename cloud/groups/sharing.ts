import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Group } from './group.ts'
import { type Members, ownerOf } from './members.ts'

export interface SharingOptions {
  instance: string
  members: Members
  groups: readonly Group[]
  beatMs: number
  clock: Clock
  log: Logger
}

export interface Sharing {
  /** Why the last beat did not reach the database, if it did not. */
  readonly fault: string | undefined
  /** How many instances have the group, this one too. */
  membersOf(group: string): number
  close(): Promise<void>
}

/**
 * Shares the partitions of ordered groups among the instances that are there. Each stands in line at every
 * partition; whoever is active at one that belongs to another member steps back, and comes to the end of the line,
 * until the owner is at its head. When an instance dies, the broker hands its partitions to the next in line at once.
 */
export function startSharing(options: SharingOptions): Sharing {
  const { instance, members, clock, log } = options
  const stopping = new AbortController()
  const groups = options.groups.filter((group) => group.ordered)
  const names = options.groups.map((group) => group.name)
  let fault: string | undefined
  let present: ReadonlyMap<string, readonly string[]> = new Map()
  let closing: Promise<void> | undefined

  async function beat(): Promise<void> {
    present = await members.beat(names)
    for (const group of groups) {
      const others = present.get(group.name) ?? [instance]
      const foreign = group.deliveries.active().filter((partition) => ownerOf(partition, others) !== instance)
      // What is not given up now is asked for again with the next beat.
      const partitions = foreign.filter((partition) => group.deliveries.stepBack(partition))
      if (partitions.length > 0) {
        log.info({ group: group.name, partitions, members: others.length }, 'stepping back to share')
      }
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await beat()
        if (fault !== undefined) log.info('the database answers again')
        fault = undefined
      } catch (error) {
        if (fault === undefined) log.warn({ code: codeOf(error) }, messageOf(error))
        fault = `${codeOf(error)}: ${messageOf(error)}`
      }
      try {
        await clock.sleep(options.beatMs, stopping.signal)
      } catch (error) {
        if (!isAbort(error)) throw error
      }
    }
  }

  async function close(): Promise<void> {
    stopping.abort()
    await running
    // Without it the others count on us until goneAfter; nothing else depends on it.
    await members
      .leave()
      .catch((error: unknown) => log.info({ code: codeOf(error) }, 'could not say good-bye'))
  }

  const running = run()
  return {
    get fault() {
      return fault
    },
    membersOf: (group) => Math.max(1, present.get(group)?.length ?? 1),
    close: () => (closing ??= close()),
  }
}
