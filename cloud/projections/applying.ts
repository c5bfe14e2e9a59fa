import type { Event } from '../../src/contract/event.ts'
import type { ReadAs } from '../../src/schemas/upcast/read-as.ts'
import type { Clock } from '../../src/clock.ts'
import { codeOf, TidegateError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { QueryResult, Transaction } from '../database/storage.ts'
import type { Page, StoredEvent } from '../history/reader.ts'
import { bounded } from '../pipeline/limits/timeout.ts'
import { isOutage } from '../pipeline/retry.ts'
import type { ProjectedEvent, LoadedProjection } from './definition.ts'
import type { Job, Standing } from './versions.ts'

/** With what events are applied. */
export interface ToApply {
  projection: LoadedProjection
  /** For a projection that asks for versions. */
  readAs: ReadAs
  timeoutMs: number
  clock: Clock
  log: Logger
  signal: AbortSignal
}

/** What is needed of an event of history to apply it. */
export type Applicable = Pick<StoredEvent, 'text' | 'cursor' | 'storedMs' | 'disposition' | 'type'>

/** What of history a projection is about: what was accepted, of the types it wants. */
export function eventsFor(stored: readonly Applicable[], projection: LoadedProjection): ProjectedEvent[] {
  return (
    stored
      .filter(({ disposition, type }) => disposition === 'accepted' && projection.wants(type))
      // What is accepted was read and judged when it was stored, and PostgreSQL keeps nothing here that is no JSON.
      .map(({ text, cursor, storedMs }) =>
        Object.assign(JSON.parse(text) as Event, { cursor, storedtime: new Date(storedMs).toISOString() }),
      )
  )
}

/** What a batch weighs at most, where its projection says what an event weighs; one event may be more. */
const weightMax = 20_000

/** As much of a page as one batch is to apply: an event has a number, or a hundred, and a transaction is to be short whatever they have. */
export function batchOf(page: Page, projection: LoadedProjection): { page: Page; events: ProjectedEvent[] } {
  const events = eventsFor(page.events, projection)
  const weigh = projection.weigh?.()
  if (weigh === undefined) return { page, events }
  let weight = 0
  const end = events.findIndex((event, index) => (weight += weigh(event)) > weightMax && index > 0)
  const next = events[end - 1]?.cursor
  if (next === undefined) return { page, events }
  const last = page.events.findIndex(({ cursor }) => cursor === next)
  return {
    page: { events: page.events.slice(0, last + 1), next, more: true },
    events: events.slice(0, end),
  }
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

/** A batch that was applied, or tried: it is this batch only while the version is where it was. */
export interface Attempt {
  at: Standing
  events: readonly ProjectedEvent[]
  /** All is done but the commit. */
  committing: boolean
}

/** @throws ApplyFailed, and what the stop of the cloud throws. */
export async function applyEvents(
  events: readonly ProjectedEvent[],
  tx: Transaction,
  applying: ToApply,
): Promise<void> {
  if (events.length === 0) return
  const { projection, timeoutMs, clock, log, signal: parent } = applying
  const given = revocable(tx)
  try {
    const read = events.map((event) => readFor(event, applying))
    await bounded((signal) => projection.apply(read, { tx: given, log, signal }), {
      timeoutMs,
      parent,
      clock,
    }).finally(() => given.revoke())
    // A round trip: what a query that nobody awaited made of the transaction, and a deferred constraint, show here and not at the commit.
    await tx.query('set constraints all immediate')
    tx.assertUsable()
  } catch (error) {
    if (parent.aborted) throw error
    throw new ApplyFailed(events, given.causeOf(error))
  }
}

/** As the projection asks for it; history keeps what was said. @throws TidegateError what `readAs` says */
export function readFor(
  event: ProjectedEvent,
  { projection, readAs }: Pick<ToApply, 'projection' | 'readAs'>,
): ProjectedEvent {
  const wanted = projection.wantedVersion(event.type)
  return wanted === undefined ? event : { ...event, ...readAs(event, wanted) }
}

/** What PostgreSQL answers to whatever follows a failure. */
const abortedState = '25P02'

/** A transaction that is lent to one call of `apply`: what that leaves behind asks it nothing more, so nothing of it is committed. */
function revocable(tx: Transaction) {
  let isRevoked = false
  let failure: unknown
  const ask = async <Row>(sql: string, params?: readonly unknown[]): Promise<QueryResult<Row>> => {
    if (isRevoked) throw over()
    try {
      return await tx.query<Row>(sql, params)
    } catch (error) {
      if (codeOf(error) !== abortedState) failure = error
      throw error
    }
  }
  return {
    query<Row>(sql: string, params?: readonly unknown[]): Promise<QueryResult<Row>> {
      const asked = ask<Row>(sql, params)
      // Who does not await it learns of its failure by the transaction; left to itself it would end the process.
      asked.catch(() => {})
      return asked
    },
    revoke(): void {
      isRevoked = true
    },
    /** Of a transaction that is spoilt, the statement that spoilt it. */
    causeOf(error: unknown): unknown {
      const isSpoilt = [abortedState, 'TRANSACTION_SPOILT'].includes(codeOf(error))
      return isSpoilt ? (failure ?? error) : error
    },
  }
}

function over(): TidegateError {
  return new TidegateError('TRANSACTION_OVER', {
    message: 'this call of apply is over: it has returned, or was abandoned',
    retryable: false,
    hint: 'await everything that apply starts, and do not keep tx',
  })
}

/** A job that could not be done, with what it has written rolled back. */
export class JobFailed extends Error {
  override readonly name = 'JobFailed'
  readonly job: string
  constructor(job: string, cause: unknown) {
    super('a job could not be done', { cause })
    this.job = job
  }
}

/** Of a job, which is one transaction: readers of history wait for as long. */
const jobTimeoutMs = 300_000

/**
 * Does a job for so long at most. What fails is to be thrown out of the transaction: a query that hangs in it ends with its connection, and
 * nothing of it is committed.
 * @throws JobFailed, an outage, and what the stop of the cloud throws
 */
export async function doJob(
  { job }: Job,
  run: (applying: ToApply) => Promise<object>,
  applying: ToApply,
): Promise<object> {
  const { clock, signal: parent } = applying
  try {
    return await bounded((signal) => run({ ...applying, signal }), {
      timeoutMs: jobTimeoutMs,
      parent,
      clock,
    })
  } catch (error) {
    const cause = error instanceof ApplyFailed ? error.cause : error
    throw isOutage(cause) || parent.aborted ? cause : new JobFailed(job, cause)
  }
}
