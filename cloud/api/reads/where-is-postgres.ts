import type { Database } from '../../database/database-postgres.ts'
import { compareCursors } from '../../history/reader.ts'
import type { Found, WhereAnswer } from '../rules/where-shapes.ts'
import {
  eventsSql,
  gatewaysSql,
  groupsSql,
  lettersSql,
  notesSql,
  parkedSql,
  projectionsSql,
  resolutionsSql,
} from './where-is-sql.ts'
import type { Scope, WhereAsked } from './reads.ts'
import { iso } from './where.ts'

interface EventRow {
  source: string
  id: string
  type: string
  gateway: string
  epoch: string
  sequence: number
  position: number
  cursor: string
  readable: boolean
  claimed: boolean
  time: Date
  recorded_time: Date
  stored_time: Date
  disposition: Place['disposition']
  reason: string | null
  admitted_epoch: string | null
  admitted_sequence: number | null
  admitted_at: Date | null
}

interface ProjectionRow {
  name: string
  version: number
  /** Null: none is, of a projection that nobody has switched to yet. */
  active: boolean | null
  types: string[] | null
  cursor: string
  skipped: string[]
  /** Where it has halted. */
  halted: string | null
}

type Dated<T, Names extends keyof T> = Omit<T, Names> & { [Name in Names]: Date }
type Place = Found['places'][number]
type LetterRow = OfSource<
  Dated<Found['letters'][number], 'firstFailedAt' | 'lastFailedAt'> & { closedAt: Date | null }
>
type OfSource<T> = T & { source: string; id: string }

/** IDs are unique for a device alone: so many of other devices are shown. */
export const foundMax = 20

/**
 * Where an event is, by its ID: a bounded number of index look-ups, whatever the size of history (G7). Nothing of what a device sent.
 * History, notes and ledgers are for who may read history: of a narrower scope nothing but what its groups have done.
 * Throws TidegateError `DATABASE_*`.
 */
export async function readWhere(
  query: Database['query'],
  { id, source }: WhereAsked,
  { groups, types }: Scope,
): Promise<WhereAnswer> {
  const maySeeHistory = groups === undefined || groups.includes('history')
  const [rows, projections, claimed, parked, letters, resolutions, notes] = await Promise.all([
    maySeeHistory
      ? query<EventRow>(eventsSql, [id, source ?? null, types ?? null, foundMax + 1], 'where-events')
      : [],
    maySeeHistory ? query<ProjectionRow>(projectionsSql) : [],
    query<OfSource<Dated<Found['processed'][number], 'at'>>>(
      groupsSql,
      [id, source ?? null, groups ?? null],
      'where-groups',
    ),
    query<OfSource<Dated<Found['parked'][number], 'at' | 'nextAt'>>>(
      parkedSql,
      [id, source ?? null, groups ?? null],
      'where-parked',
    ),
    query<LetterRow>(lettersSql, [id, source ?? null, groups ?? null, types ?? null]),
    query<OfSource<Dated<Found['resolutions'][number], 'at'>>>(resolutionsSql, [
      id,
      source ?? null,
      groups ?? null,
    ]),
    maySeeHistory ? query<OfSource<Dated<Found['notes'][number], 'at'>>>(notesSql, [id, source ?? null]) : [],
  ])
  // What waits is claimed since it waits.
  const processed = claimed.filter(
    (one) => !parked.some(({ group, source: of }) => group === one.group && of === one.source),
  )
  const sources = new Set(
    // Of what is of no type, the type is not known.
    [
      ...rows,
      ...letters,
      ...(types === undefined ? [...notes, ...processed, ...parked, ...resolutions] : []),
    ].map((row) => row.source),
  )
  const found = [...sources]
    .slice(0, foundMax)
    .map((one) => foundOf(one, { rows, projections, processed, parked, letters, resolutions, notes }))
  // What a gateway has is of no type.
  const isForGateways = found.length === 0 && types === undefined && maySeeHistory
  const more = sources.size > foundMax || rows.length > foundMax
  return { id, found, more, ...(isForGateways ? await readGateways(query) : noGateways) }
}

interface Rows {
  rows: readonly EventRow[]
  projections: readonly ProjectionRow[]
  processed: readonly OfSource<Dated<Found['processed'][number], 'at'>>[]
  parked: readonly OfSource<Dated<Found['parked'][number], 'at' | 'nextAt'>>[]
  letters: readonly LetterRow[]
  resolutions: readonly OfSource<Dated<Found['resolutions'][number], 'at'>>[]
  notes: readonly OfSource<Dated<Found['notes'][number], 'at'>>[]
}

/** What is known of one of the devices that use the ID. */
function foundOf(
  source: string,
  { rows, projections, processed, parked, letters, resolutions, notes }: Rows,
): Found {
  const ofOne = <T extends { source: string }>(list: readonly T[]): T[] =>
    list.filter((row) => row.source === source)
  return {
    source,
    places: ofOne(rows).map((row) => placeOf(row, projections)),
    processed: ofOne(processed).map(({ group, at }) => ({ group, at: iso(at) })),
    parked: ofOne(parked).map(({ group, at, state, first, attempt, nextAt, code }) => ({
      group,
      at: iso(at),
      state,
      first,
      attempt,
      nextAt: iso(nextAt),
      code,
    })),
    letters: ofOne(letters).map(({ firstFailedAt, lastFailedAt, closedAt, ...letter }) => ({
      ...letter,
      firstFailedAt: iso(firstFailedAt),
      lastFailedAt: iso(lastFailedAt),
      closedAt: iso(closedAt),
    })),
    resolutions: ofOne(resolutions).map(({ group, letter, outcome, at }) => ({
      group,
      letter,
      outcome,
      at: iso(at),
    })),
    notes: ofOne(notes).map(({ gateway, epoch, sequence, reason, at }) => ({
      gateway,
      epoch,
      sequence,
      reason,
      at: iso(at),
    })),
  }
}

function placeOf(row: EventRow, projections: readonly ProjectionRow[]): Place {
  const { gateway, epoch, sequence, type, position, cursor, readable, claimed, disposition, reason } = row
  const { admitted_epoch, admitted_sequence, admitted_at } = row
  return {
    gateway,
    epoch,
    sequence,
    type,
    claimed,
    time: iso(row.time),
    admittedAt: iso(row.recorded_time),
    storedAt: iso(row.stored_time),
    position,
    cursor,
    readable,
    disposition,
    // What follows may quote the device.
    code: reason === null ? null : (/^[A-Z][A-Z0-9_]*/.exec(reason)?.[0] ?? null),
    ...(reason !== null && { reason }),
    projections:
      disposition === 'accepted'
        ? projections
            .filter(({ types }) => types === null || types.includes(type))
            .map((one) => ({
              name: one.name,
              version: one.version,
              active: one.active === true,
              standing: standingOf(cursor, one),
            }))
        : [],
    admission:
      admitted_epoch === null || admitted_sequence === null || admitted_at === null
        ? null
        : { epoch: admitted_epoch, sequence: admitted_sequence, at: iso(admitted_at) },
  }
}

function standingOf(cursor: string, one: ProjectionRow): Place['projections'][number]['standing'] {
  if (one.skipped.includes(cursor)) return 'skipped'
  if (one.halted === cursor) return 'halted at it'
  return one.cursor !== '' && compareCursors(cursor, one.cursor) <= 0 ? 'included' : 'not yet'
}

type Gateways = Pick<WhereAnswer, 'gateways' | 'moreGateways'>
type GatewayRow = Dated<Gateways['gateways'][number], 'storedAt'> & { isCut: boolean }

const noGateways: Gateways = { gateways: [], moreGateways: false }

async function readGateways(query: Database['query']): Promise<Gateways> {
  const rows = await query<GatewayRow>(gatewaysSql, [], 'where-gateways')
  const gateways = rows.map(({ gateway, epoch, lastSequence, storedAt, gaps, undelivered }) => ({
    gateway,
    epoch,
    lastSequence,
    storedAt: iso(storedAt),
    gaps,
    undelivered,
  }))
  return { gateways, moreGateways: rows[0]?.isCut === true }
}
