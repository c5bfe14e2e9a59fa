import type { Clock } from '../../src/clock.ts'
import { codeOf, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { Database } from '../database/database-postgres.ts'

/** What waits of a group that no instance runs: nobody tries it. */
export interface Unattended {
  group: string
  devices: number
  events: number
}

export interface UnattendedOptions {
  database: Pick<Database, 'query'>
  /** Those that this instance runs. */
  groups: readonly string[]
  /** An instance without a sign of life for so long is gone. */
  goneAfterMs: number
  clock: Clock
  log: Logger
}

const everyMs = 60_000

const unattendedSql = `
select d.consumer_group as "group", count(*)::float8 as devices,
  (select greatest(0, coalesce(sum(c.events), 0))::float8 from tidegate.parked_counts as c
   where c.consumer_group = d.consumer_group) as events
from tidegate.parked_devices as d
where d.consumer_group <> all($1::text[]) and not exists (
  select from tidegate.members as m where m.consumer_group = d.consumer_group
    and m.seen_at > clock_timestamp() - make_interval(secs => $2::float8 / 1000))
group by 1 order by 1`

/** Looks for them at the start and every minute, and warns of each once. */
export function startWatchingUnattended({ database, groups, goneAfterMs, clock, log }: UnattendedOptions): {
  /** As of the last look. */
  readonly unattended: readonly Unattended[]
  close(): Promise<void>
} {
  const stopping = new AbortController()
  const { signal } = stopping
  let unattended: readonly Unattended[] = []

  async function look(): Promise<void> {
    const before = new Set(unattended.map(({ group }) => group))
    unattended = await database.query<Unattended & Record<string, unknown>>(unattendedSql, [
      groups,
      goneAfterMs,
    ])
    for (const { group, devices, events } of unattended)
      if (!before.has(group))
        log.warn({ code: 'PARKED_UNATTENDED', group, devices, events, hint }, message(group))
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      await look().catch((error: unknown) =>
        log.warn(
          { code: codeOf(error) },
          `could not see what is parked of groups that nobody runs: ${messageOf(error)}`,
        ),
      )
      await clock.sleep(everyMs, signal).catch(() => {})
    }
  }

  const running = run()
  return {
    get unattended() {
      return unattended
    },
    close() {
      stopping.abort()
      return running
    },
  }
}

const hint =
  'run the consumer again until nothing of it waits, or have it skip what waits (tidegate parked skip GROUP --all) before it is taken away: docs/CONSUMERS.md'

function message(group: string): string {
  return `events of ${group} wait for parked devices, and no instance runs it: nobody tries them`
}
