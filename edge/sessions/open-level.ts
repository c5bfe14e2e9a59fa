import { rename } from 'node:fs/promises'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { openRecords, SessionDatabase } from './records/database-level.ts'
import { removeUnreadable } from './records/records-level.ts'
import { Sessions, type SessionsOptions } from './sessions-level.ts'
import { isDamage, isInTheWay } from '../store/leveldb/errors.ts'

/**
 * Retained messages, wills, subscriptions and what waits for sessions that are away, in a LevelDB of their own.
 * Writes are not synced: they survive a crash of the process; after a power cut the newest may be missing. No event depends on
 * that (G1 is the outbox's); only that a QoS 2 message was released must not be undone, and is synced.
 * A record that cannot be read is taken out; a database that is damaged is set aside whole, and a new one is begun; one
 * that cannot be opened for another reason is left as it is.
 * @throws TidegateError `SESSIONS_UNAVAILABLE`
 */
export async function openSessions(options: SessionsOptions): Promise<Sessions> {
  const { folder, log, clock } = options
  try {
    const records = await openRecords(folder)
    const removed = await removeUnreadable(records).catch(async (error: unknown) => {
      await records.close()
      throw error
    })
    if (removed > 0) log.error({ code: 'SESSIONS_DAMAGED', removed }, 'sessions: unreadable records removed')
    return new Sessions(new SessionDatabase(records, options), options)
  } catch (error) {
    if (!isToSetAside(error)) throw unavailable(folder, error)
    const aside = `${folder}.damaged-${new Date(clock.now()).toISOString().replaceAll(':', '')}`
    try {
      await rename(folder, aside)
      const sessions = new Sessions(new SessionDatabase(await openRecords(folder), options), options)
      log.error({ code: 'SESSIONS_DAMAGED', aside, detail: messageOf(error) }, 'sessions could not be read')
      return sessions
    } catch {
      throw unavailable(folder, error)
    }
  }
}

/** A full disk, a missing right or too many open files say nothing about what is in the files. */
function isToSetAside(error: unknown): boolean {
  const code = codeOf(error)
  if (code === 'LEVEL_LOCKED' || isInTheWay(error)) return false
  // EEXIST: there is a file in the place of the folder.
  return code === 'EEXIST' || isDamage(error)
}

function unavailable(folder: string, cause: unknown): TidegateError {
  return new TidegateError('SESSIONS_UNAVAILABLE', {
    message: `the session database ${folder} cannot be opened: ${messageOf(cause)}`,
    retryable: false,
    hint: 'check that no other gateway uses this data folder, that it is writable and that the disk has room',
    cause,
  })
}
