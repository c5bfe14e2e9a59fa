import { isDeepStrictEqual } from 'node:util'
import { type Event, rejectedType, type Rejection } from '../../src/contract/event.ts'
import type { TidegateError } from '../../src/errors.ts'
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

/** `fault` is what is wrong with it. */
export function recordOf({
  event,
  text,
  fault,
}: {
  event: Event
  text: string
  fault?: TidegateError | undefined
}): HistoryRecord {
  return {
    gateway: event.gateway,
    epoch: event.epoch,
    sequence: event.sequence,
    ...textColumns(event),
    disposition: dispositionOf(event.type, fault !== undefined),
    reason: fault && `${fault.code}: ${fault.message}`.slice(0, 500).replaceAll('\0', ''),
    body: text,
  }
}

/** PostgreSQL's text cannot hold U+0000; the body keeps it. */
function optional(value: unknown): string | undefined {
  return typeof value === 'string' ? value.replaceAll('\0', '') : undefined
}

/**
 * Whether two texts of one identity are one reading, which was numbered twice: what the device says is the same. Not its time, which
 * is the gateway's where the device gave none.
 */
export function saysTheSame(one: string, other: string): boolean {
  try {
    return isDeepStrictEqual(said(one), said(other))
  } catch {
    // Nested deeper than any gateway lets through, or no event at all.
    return one === other
  }
}

/** What the device said: of a rejected reading not what the gateway says of it, which depends on its version and its schemas. */
function said(text: string): unknown {
  const { type, subject, data } = JSON.parse(text) as Event
  if (type !== rejectedType) return { type, subject, data }
  const { topic, id, payloadBytes } = data as Partial<Rejection>
  return { type, subject, topic, id, payloadBytes }
}

/** `fault` is what the edge or the cloud found wrong with it. */
export function dispositionOf(type: string, faulty: boolean): HistoryRecord['disposition'] {
  if (!faulty) return 'accepted'
  return type === rejectedType ? 'rejected' : 'dead'
}
