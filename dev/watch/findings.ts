import type { Book } from '../fleet/book.ts'
import { eventId } from '../fleet/random.ts'
import type { Audit } from './audit.ts'
import type { Disturbance, HistoryReader, Identity, Latency, RowCounts, RunFilter } from './history.ts'
import type { Snapshot } from './snapshot.ts'

/** What PostgreSQL, the broker and the gateway say after the run. */
export interface Findings extends RowCounts {
  storedTwice: number
  missing: Missing
  latency: Latency
  /** How many more dead letters are open than were before the run, without those that are meant to be. */
  deadLetters: number
  /** Repeats the gateway dropped, as its metrics count them; a kill -9 takes the count of its last moments. */
  duplicates: number
  /** Events left in the outbox when the end was not waited for any more; what the gateway signs of itself after that is none of the run. */
  leftInOutbox: number
  audit: Audit
}

/** Acknowledged events that the history does not hold. */
export interface Missing {
  count: number
  /** The first ones: those that can be looked for. */
  first: Identity[]
}

export interface FindingsOptions {
  /** The run's ID. */
  run: string
  book: Pick<Book, 'acknowledgedEvents'>
  history: HistoryReader
  filter: RunFilter
  disturbances: readonly Disturbance[]
  /** The outbox was seen empty after everything was stored. */
  drained: boolean
  last: Snapshot | undefined
  letters(): Promise<number>
  audit(): Promise<Audit>
}

/** Asks everybody who knows. @throws TidegateError `BROKER_UNREACHABLE`, and as the driver does where the database is away */
export async function gatherFindings(options: FindingsOptions): Promise<Findings> {
  const { history, filter, disturbances, drained, last } = options
  const { devices, byType } = await history.rows(filter)
  return {
    devices,
    byType,
    storedTwice: await history.storedTwice(filter),
    missing: await findMissing(options),
    latency: await history.latency(filter, disturbances),
    deadLetters: await options.letters(),
    duplicates: last?.duplicates ?? 0,
    leftInOutbox: drained ? 0 : (last?.buffered ?? 0),
    audit: await options.audit(),
  }
}

const identitiesAtOnce = 20_000
/** Of those that are missing, how many are looked for. */
const searchedMax = 10_000

/** Compares the fleet's own book with the history, some thousand events at a time. */
export async function findMissing({
  run,
  book,
  history,
}: Pick<FindingsOptions, 'run' | 'book'> & { history: Pick<HistoryReader, 'absent'> }): Promise<Missing> {
  const missing: Missing = { count: 0, first: [] }
  let some: Identity[] = []
  const look = async (): Promise<void> => {
    const absent = await history.absent(some)
    some = []
    missing.count += absent.length
    missing.first.push(...absent.slice(0, searchedMax - missing.first.length))
  }
  for (const { deviceId, n, topic } of book.acknowledgedEvents()) {
    const id = eventId(run, deviceId, n)
    some.push({ source: `/devices/${deviceId}`, id: topic === undefined ? id : `${topic}#${id}` })
    if (some.length === identitiesAtOnce) await look()
  }
  await look()
  return missing
}
