import { deviceSource } from '../../src/contract/event.ts'
import type { Transaction } from '../database/storage.ts'
import type { HistoryPage, HistoryPages, PageAsked } from '../replays/history-pages.ts'
import { type FilteredEvent, readFiltered } from './filtered-postgres.ts'
import { compareCursors } from './reader.ts'

/** So many reads for a page of a filter that little is of. */
const readsMax = 5

const readableSql = `select end_era || '.' || end_tx || '.0' as readable from tidegate.readable_before()`
const endSql = `
select e.end_era || '.' || greatest(e.end_tx, pg_snapshot_xmax(pg_current_snapshot())) || '.0' as "end" from tidegate.readable_before() as e`

/** History in the order in which nothing is skipped and nothing comes twice (reader.ts), for replays. */
export const postgresPages: HistoryPages = {
  async end(tx) {
    const { rows } = await tx.query<{ end: string }>(endSql)
    return (rows[0] as { end: string }).end
  },
  async read(tx, asked) {
    // Before what is read: what is committed between the two is then read by the next.
    const { rows } = await tx.query<{ readable: string }>(readableSql)
    const isReadable = compareCursors((rows[0] as { readable: string }).readable, asked.through ?? '') >= 0
    let page: HistoryPage = { events: [], next: asked.after, more: true, exhausted: false }
    for (let reads = 0; reads < readsMax && page.events.length === 0 && page.more; reads++)
      page = await readOn(tx, { ...asked, after: page.next }, isReadable)
    return page
  },
}

async function readOn(tx: Transaction, asked: PageAsked, isReadable: boolean): Promise<HistoryPage> {
  const { after, through, upTo, selection, wants, patterns, max } = asked
  const { types, device, fromMs, untilMs } = selection
  const query = async <Row>(text: string, values?: unknown[]): Promise<Row[]> =>
    (await tx.query<Row>(text, values)).rows
  const source = device === undefined ? undefined : deviceSource(device)
  const { events, next, more } = await readFiltered(
    query,
    after,
    { types, source, fromMs, untilMs, patterns },
    max,
  )
  const isBefore = ({ cursor }: FilteredEvent): boolean =>
    (through === undefined || compareCursors(cursor, through) < 0) &&
    (upTo === undefined || compareCursors(cursor, upTo) <= 0)
  const wanted = events.filter((event) => isBefore(event))
  const isCut = wanted.length < events.length
  const isPast = through !== undefined && compareCursors(next, through) >= 0
  const end = isCut ? (upTo ?? wanted.at(-1)?.cursor ?? after) : next
  return {
    events: wanted.filter(({ disposition, type }) => disposition === 'accepted' && wants(type)).map(eventOf),
    next: end,
    more: more && !isCut && (upTo === undefined || compareCursors(end, upTo) < 0),
    exhausted: through !== undefined && upTo === undefined && (isCut || isPast || (!more && isReadable)),
  }
}

function eventOf({
  gateway,
  id,
  source,
  type,
  text,
  storedAt,
  recordedAt,
}: FilteredEvent): HistoryPage['events'][number] {
  const [, , partitionkey = ''] = source.split('/')
  return {
    gateway,
    id,
    type,
    partitionkey,
    text,
    earliestMs: Math.min(storedAt.getTime(), recordedAt.getTime()),
  }
}
