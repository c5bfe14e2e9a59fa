import type { Event } from '../../../src/contract/envelope.ts'
import { codeOf, messageOf } from '../../../src/errors.ts'
import type { SchemaRegistry } from '../../../src/schemas/registry.ts'
import type { ReadAs } from '../../../src/schemas/upcast/read-as.ts'
import type { Database } from '../../database/database-postgres.ts'
import { postgresStorage } from '../../database/storage-postgres.ts'
import type { Consumer } from '../../pipeline/definition.ts'
import type { HandlerLog } from '../../pipeline/handlers/handler-log.ts'
import { Activity, watched } from '../activity.ts'
import { TestGateway } from '../events.ts'
import { Run } from '../run.ts'
import { VirtualClock } from '../virtual-clock.ts'
import type { Plan } from './plans.ts'
import type { Contents } from './rows.ts'
import type { Sample } from './sample.ts'
import type { ConsumerTables } from './tables-postgres.ts'
import { Trouble, troubled } from './trouble.ts'

/** What is left when all is done. */
export interface Outcome {
  tables: Contents
  /** By event ID, the code of its dead letter. */
  letters: Readonly<Record<string, string>>
  /** By event ID, for what those wait that nothing brings to an end here: the code of what holds their device, or holds up the group. */
  waiting: Readonly<Record<string, string>>
  /** What handlers did elsewhere, as the test sees it. */
  outside: string
  /** By event ID, what its handler threw at last. */
  thrown: ReadonlyMap<string, unknown>
}

export interface ExecutionOptions {
  consumer: Consumer
  schemas: SchemaRegistry
  readAs: ReadAs
  database: Database
  tables: ConsumerTables
  startMs: number
  log: HandlerLog
  reset: () => Promise<void> | void
  outside: () => unknown
}

/** Of what waits for what a handler needs (docs/ERRORS.md). */
export const unavailableCode = 'CONSUMER_UNAVAILABLE'

/** A ladder of a day and its dead letters end within so many steps of growing size. */
const stepsMax = 40
const stepMsMin = 1_000
const stepMsMax = 3_600_000

/** Hands the events of a case to the consumer by a plan, from the same beginning each time. */
export async function execute(
  samples: readonly Sample[],
  plan: Plan,
  options: ExecutionOptions,
): Promise<Outcome> {
  const { consumer, schemas, database, tables, startMs } = options
  await tables.reset()
  await options.reset()
  const clock = new VirtualClock(startMs)
  const activity = new Activity()
  const trouble = new Trouble(plan, samples.length)
  const thrown = new Map<string, unknown>()
  const now = (): number => clock.now()
  const storage = watched(postgresStorage(database), {
    activity,
    now,
    // What is written at another attempt is not to differ by that alone.
    transactionNow: () => startMs,
    beforeCommit: () => trouble.beforeCommit(),
    afterCommit: () => trouble.afterCommit(),
  })
  const handler = troubled(consumer.handler, { activity, trouble, thrown })
  const { batchMax } = plan
  const run = new Run({ consumer, handler, parts: options, storage, clock, activity, batchMax })
  trouble.run = run
  try {
    const gateway = new TestGateway(schemas, now)
    const events = samples.map(({ type, ...given }) => gateway.next(type, withVersion(given), undefined))
    const inOrder = plan.orderOf(samples, consumer.ordered).map((index) => events[index] as Event)
    for (const together of plan.alone ? inOrder.map((event) => [event]) : [inOrder]) {
      run.post(together)
      await drain(run, trouble)
    }
    if (plan.again) {
      run.post(inOrder, true)
      await drain(run, trouble)
    }
    return {
      tables: await tables.read(),
      letters: await lettersIn(database),
      waiting: await waitingIn(database, run, trouble),
      outside: told(options.outside()),
      thrown,
    }
  } finally {
    await run.close()
  }
}

function withVersion({
  version,
  ...given
}: Omit<Sample, 'type'>): Omit<Sample, 'type' | 'version'> & { version?: number } {
  return version === undefined ? given : { ...given, version }
}

async function drain(run: Run, trouble: Trouble): Promise<void> {
  let stepMs = stepMsMin
  for (let step = 0; step < stepsMax; step++) {
    await run.settle()
    if (trouble.takeCrash()) await run.crash()
    else if (run.waiting === 0 || run.isHeld || trouble.isUnavailable) return
    else {
      await run.advance(stepMs)
      stepMs = Math.min(stepMsMax, stepMs * 1.5)
    }
  }
}

async function lettersIn(database: Database): Promise<Record<string, string>> {
  const rows = await database.query<{ id: string; code: string }>(
    'select id, code from tidegate.dead_letters order by id',
  )
  return Object.fromEntries(rows.map(({ id, code }) => [id, code]))
}

async function waitingIn(database: Database, run: Run, trouble: Trouble): Promise<Record<string, string>> {
  const parked = await database.query<{ id: string; code: string | null }>(
    `select convert_from(e.body, 'UTF8')::jsonb ->> 'id' as id, d.code from tidegate.parked_events as e
      join tidegate.parked_devices as d using (consumer_group, device) order by 1`,
  )
  const why = trouble.isUnavailable ? unavailableCode : 'WAITING'
  return Object.fromEntries([
    ...run.broker.left.map((text) => [(JSON.parse(text.toString()) as Event).id, why]),
    ...parked.map(({ id, code }) => [id, code ?? why]),
  ])
}

export function told(value: unknown): string {
  const isUnordered = value instanceof Map || value instanceof Set
  // oxlint-disable-next-line typescript/require-array-sort-compare -- texts
  if (isUnordered)
    return `[${[...value]
      .map((one) => JSON.stringify(one))
      .toSorted()
      .join()}]`
  return JSON.stringify(value) ?? 'undefined'
}

/** What a letter, or what waits, says in a line. */
export function failureText({ letters, waiting, thrown }: Outcome, id: string): string {
  const error = thrown.get(id)
  const code = letters[id] ?? waiting[id]
  const text = error === undefined ? String(code) : `${codeOf(error)}: ${messageOf(error)}`
  return letters[id] === undefined ? `${text}, and waits` : text
}
