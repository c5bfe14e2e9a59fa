import type { Clock } from '../../../src/clock.ts'
import type { Logger } from '../../../src/log.ts'
import type { Database } from '../../database/database-postgres.ts'
import { readFiltered } from '../../history/filtered-postgres.ts'
import { checkCursor, readHorizon } from '../../history/horizon-postgres.ts'
import type { Cursor } from '../../history/reader.ts'
import { createTide } from '../../history/tide.ts'
import { createStreams, type Streams, type StreamsOptions } from './streams.ts'

/** History in order, for the API: by pages, and as streams that are to be closed before the API is. */
export interface Events {
  /** Throws TidegateError `CURSOR_INVALID`, `CURSOR_AHEAD`, `DATABASE_*`. */
  read: StreamsOptions['read']
  /** Throws TidegateError `CURSOR_AHEAD`, `DATABASE_*`. */
  check: (cursor: Cursor) => Promise<void>
  streams: Streams
}

export function postgresEvents(
  database: Pick<Database, 'query'>,
  { clock, log }: { clock: Clock; log: Logger },
): Events {
  const query = database.query.bind(database)
  const read: Events['read'] = (after, filter, max) => readFiltered(query, after, filter, max)
  const tide = createTide({ horizon: () => readHorizon(database), clock, log })
  const check: Events['check'] = (cursor) => checkCursor(database, cursor)
  return { read, check, streams: createStreams({ read, tide, clock, log }) }
}
