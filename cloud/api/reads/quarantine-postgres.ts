import { eventTypePattern, payloadFormats, rejectedType } from '../../../src/contract/event.ts'
import type { Database } from '../../database/database-postgres.ts'
import { pageOf, placeOf } from '../rules/cursor.ts'
import type { QuarantineItem } from '../rules/shapes.ts'
import type { Page, QuarantineAsked, Scope } from './reads.ts'
import { iso, Where } from './where.ts'

/** Quarantined readings are history's, whoever they were for. */
const historyGroup = 'history'

interface Row {
  position: number
  gateway: string
  epoch: string
  sequence: number
  source: string
  reason: string | null
  recorded_time: Date
  data: unknown
}

const list = 'quarantine'

/** Newest first. */
export async function readQuarantine(
  query: Database['query'],
  asked: QuarantineAsked,
  scope: Scope,
): Promise<Page<QuarantineItem>> {
  if (scope.groups !== undefined && !scope.groups.includes(historyGroup)) return { items: [], next: null }
  const { limit, after, device } = asked
  // Said as its index says it.
  const where = new Where()
    .always(`disposition <> 'accepted'`)
    .and('type = ?', rejectedType)
    .and('gateway = ?', asked.gateway)
    .and('source = ?', device === undefined ? undefined : `/devices/${device}`)
    .and('reason = ?', asked.reason)
    .and(`body -> 'data' ->> 'type' = any(?::text[])`, scope.types)
  if (after !== undefined) where.and('position < ?', placeOf(list, after, [0])[0])
  const sql = `select position::float8 as position, gateway, epoch, sequence::float8 as sequence, source, reason, recorded_time, body -> 'data' as data
    from tidegate.events as e ${where.sql} order by e.position desc limit ${where.value(limit + 1)}`
  const { items, next } = pageOf(list, await query<Row>(sql, where.values), {
    limit,
    place: ({ position }) => [position],
  })
  return { items: items.map(itemOf), next }
}

function itemOf({ gateway, epoch, sequence, source, reason, recorded_time, data }: Row): QuarantineItem {
  const said = (typeof data === 'object' && data !== null ? data : {}) as Record<string, unknown>
  const text = (name: string): string | null => {
    const value = said[name]
    return typeof value === 'string' ? value : null
  }
  const { payloadBytes, truncated } = said
  return {
    gateway,
    epoch,
    sequence,
    device: source.replace(/^\/devices\//, ''),
    reason,
    // What is no type may be anything that a device sent.
    type: eventTypePattern.test(text('type') ?? '') ? text('type') : null,
    recordedAt: iso(recorded_time),
    payloadBytes:
      Number.isSafeInteger(payloadBytes) && Number(payloadBytes) >= 0 ? Number(payloadBytes) : null,
    format: payloadFormats.find((one) => one === text('format')) ?? null,
    detail: text('detail'),
    topic: text('topic'),
    id: text('id'),
    payloadBase64: text('payload'),
    truncated: typeof truncated === 'boolean' ? truncated : null,
  }
}
