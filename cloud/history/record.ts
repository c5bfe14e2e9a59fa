import { type Event, rejectedType } from '../../src/contract/event.ts'
import type { HistoryRecord } from './history.ts'

/** The columns of history that say again what the wire text says. */
export type TextColumns = Pick<
  HistoryRecord,
  'source' | 'id' | 'type' | 'subject' | 'dataschema' | 'timeMs' | 'recordedMs'
>

/** Which attribute of the text each of them is. */
export const attributes: Readonly<Record<keyof TextColumns, keyof Event>> = {
  source: 'source',
  id: 'id',
  type: 'type',
  subject: 'subject',
  dataschema: 'dataschema',
  timeMs: 'time',
  recordedMs: 'recordedtime',
}

/** Of an event, or of a text that is to be audited, of which nothing is known. */
export function textColumns(text: Readonly<Partial<Record<keyof Event, unknown>>>): TextColumns {
  return {
    source: String(text.source),
    id: String(text.id),
    type: String(text.type),
    subject: optional(text.subject),
    dataschema: optional(text.dataschema),
    timeMs: Date.parse(String(text.time)),
    recordedMs: Date.parse(String(text.recordedtime)),
  }
}

/** PostgreSQL's text cannot hold U+0000; the body keeps it. */
function optional(value: unknown): string | undefined {
  return typeof value === 'string' ? value.replaceAll('\0', '') : undefined
}

/** `fault` is what the edge or the cloud found wrong with it. */
export function dispositionOf(type: string, faulty: boolean): HistoryRecord['disposition'] {
  if (!faulty) return 'accepted'
  return type === rejectedType ? 'rejected' : 'dead'
}
