import type { Event } from '../../src/contract/event.ts'
import type { Clock } from '../../src/clock.ts'
import type { Logger } from '../../src/log.ts'
import type { Transaction } from '../database/storage.ts'
import type { StoredEvent } from '../history/reader.ts'
import { bounded } from '../pipeline/limits/timeout.ts'
import type { ProjectedEvent, LoadedProjection } from './definition.ts'

/** With what events are applied. */
export interface ToApply {
  projection: LoadedProjection
  timeoutMs: number
  clock: Clock
  log: Logger
  signal: AbortSignal
}

/** What is needed of an event of history to apply it. */
export type Applicable = Pick<StoredEvent, 'text' | 'cursor' | 'disposition' | 'type'>

/** What of history a projection is about: what was accepted, of the types it wants. */
export function eventsFor(stored: readonly Applicable[], projection: LoadedProjection): ProjectedEvent[] {
  return (
    stored
      .filter(({ disposition, type }) => disposition === 'accepted' && projection.wants(type))
      // What is accepted was read and judged when it was stored, and PostgreSQL keeps nothing here that is no JSON.
      .map(({ text, cursor }) => Object.assign(JSON.parse(text) as Event, { cursor }))
  )
}

/** Events that could not be applied, together with why. */
export class ApplyFailed extends Error {
  override readonly name = 'ApplyFailed'
  readonly events: readonly ProjectedEvent[]
  constructor(events: readonly ProjectedEvent[], cause: unknown) {
    super('events could not be applied', { cause })
    this.events = events
  }
}

/** @throws ApplyFailed, and what the stop of the cloud throws. */
export async function applyEvents(
  events: readonly ProjectedEvent[],
  tx: Transaction,
  { projection, timeoutMs, clock, log, signal: parent }: ToApply,
): Promise<void> {
  if (events.length === 0) return
  const query: Transaction['query'] = (sql, params) => tx.query(sql, params)
  try {
    await bounded((signal) => projection.apply(events, { tx: { query }, log, signal }), {
      timeoutMs,
      parent,
      clock,
    })
    tx.assertUsable()
  } catch (error) {
    if (parent.aborted) throw error
    throw new ApplyFailed(events, error)
  }
}
