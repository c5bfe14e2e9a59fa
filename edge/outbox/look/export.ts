import type { Lane } from '../outbox.ts'
import type { StoreReader } from '../../store/store.ts'
import { readable } from '../layout/record.ts'
import { queued } from '../layout/queued.ts'

/** Which events to export. Sequences are those of the present epoch. */
export interface ExportFilter {
  deviceId?: string | undefined
  type?: string | undefined
  lane?: Lane | undefined
  fromSequence?: number | undefined
  toSequence?: number | undefined
}

/** The text of an event, a JSON object; or of which record there is nothing to export, and why. */
export type Exported = { text: string } | { damaged: string }

/**
 * Queued events in the order of admission; flat memory at any backlog. A damaged record does not say whose event it
 * was, so it is told of whatever the filter.
 */
export async function* exportTexts(store: StoreReader, filter: ExportFilter): AsyncIterable<Exported> {
  const { deviceId, type, lane, fromSequence = 0, toSequence = Infinity } = filter
  for await (const entry of queued(store)) {
    if (lane !== undefined && entry.lane !== lane) continue
    const event = readable(entry)
    if (event instanceof Error) {
      yield { damaged: event.message }
      continue
    }
    if (deviceId !== undefined && event.deviceId !== deviceId) continue
    if (type !== undefined && event.type !== type) continue
    if (event.sequence < fromSequence || event.sequence > toSequence) continue
    yield { text: event.text }
  }
}
