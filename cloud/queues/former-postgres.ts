import type { Clock } from '../../src/clock.ts'
import { queueGeneration } from '../../src/contract/wire.ts'
import type { Database, Session } from '../database/database-postgres.ts'
import type { UpgradeLock, UpgradeRegister } from './former.ts'

/** Any number; with the group, the name of a lock that ends with its session. */
const lockClass = 744_100_288

/**
 * A holder that is frozen or cut off says nothing: the server ends its session, and with it the lock. Servers before
 * PostgreSQL 14 cannot, and notice it by TCP alone.
 */
const giveUpIdle = `select set_config(name, $1, false) from pg_settings where name = 'idle_session_timeout'`

/** Notes and the lock in PostgreSQL. An instance without a heartbeat for `goneAfterMs` is gone. */
export function postgresUpgradeRegister(
  database: Database,
  group: string,
  goneAfterMs: number,
  clock: Clock,
): UpgradeRegister {
  return {
    async drained(queues) {
      const rows = await database.query<{ queue: string }>(
        'select queue from tidegate.drained_queues where queue = any($1)',
        [queues],
      )
      return new Set(rows.map(({ queue }) => queue))
    },
    async note(queue) {
      await database.query(
        'insert into tidegate.drained_queues (queue) values ($1) on conflict (queue) do nothing',
        [queue],
      )
    },
    async olderInstances() {
      const rows = await database.query<{ instance: string }>(
        `select instance from tidegate.members
         where consumer_group = $1 and queue_generation < $2
           and seen_at > clock_timestamp() - make_interval(secs => $3::float8 / 1000)
         order by instance`,
        [group, queueGeneration, goneAfterMs],
      )
      return rows.map(({ instance }) => instance)
    },
    lock: () => lock(database, group, goneAfterMs, clock),
  }
}

async function lock(
  database: Database,
  group: string,
  goneAfterMs: number,
  clock: Clock,
): Promise<UpgradeLock | undefined> {
  const session = await database.session()
  const [row] = await session
    .query<{ locked: boolean }>('select pg_try_advisory_lock($1, hashtext($2)) as locked', [lockClass, group])
    .catch(async (error: unknown) => {
      await session.end()
      throw error
    })
  if (row?.locked === true) {
    await session.query(giveUpIdle, [String(2 * goneAfterMs)])
    void beat(session, goneAfterMs / 2, clock)
    return { lost: session.lost, release: () => session.end() }
  }
  await session.end()
  return undefined
}

/** Says that the holder is there. An answer that does not come ends the session on this side as well. */
async function beat(session: Session, everyMs: number, clock: Clock): Promise<void> {
  try {
    for (;;) {
      await clock.sleep(everyMs, session.lost)
      await session.query('select 1')
    }
  } catch {
    await session.end()
  }
}
