import type { FilteredEvent } from '../../history/filtered-postgres.ts'
import type { Cursor } from '../../history/reader.ts'

/** After so long whoever was cut off asks again, ms. */
const retryMs = 1_000

/**
 * Server-sent events (WHATWG HTML, section 9.2). The ID is the cursor: who comes again with `Last-Event-ID` goes on after it. Events are of
 * no named kind, so that every client hears them.
 */
export const serverSent = {
  beginning: `retry: ${retryMs}\n\n`,
  heartbeat: ':\n\n',
  /** Without data no event is dispatched; where to go on is known nevertheless. */
  position: (cursor: Cursor): string => `id: ${cursor}\n\n`,
  event(event: FilteredEvent): string {
    const { text, cursor, storedAt, ...rest } = event
    const about = JSON.stringify({ cursor, storedAt: storedAt.toISOString(), ...rest })
    // The wire text as it is: what would be read and written again might not be the same number.
    const data = `${about.slice(0, -1)},"event":${text}}`
    return `id: ${cursor}\n${data
      .split(/\r\n|\r|\n/)
      .map((line) => `data: ${line}`)
      .join('\n')}\n\n`
  },
}
