import type { Event } from '../../../src/contract/envelope.ts'
import { codeOf, messageOf, TidegateError } from '../../../src/errors.ts'
import type { SchemaRegistry } from '../../../src/schemas/registry.ts'
import type { ReadAs } from '../../../src/schemas/upcast/read-as.ts'
import type { Database } from '../../database/database-postgres.ts'
import { postgresStorage } from '../../database/storage-postgres.ts'
import type { Consumer, Handler } from '../../pipeline/definition.ts'
import type { HandlerLog } from '../../pipeline/handlers/handler-log.ts'
import { Activity, watched } from '../activity.ts'
import { TestGateway } from '../events.ts'
import { Run } from '../run.ts'
import { VirtualClock } from '../virtual-clock.ts'
import type { Sample } from './sample.ts'
import type { ConsumerTables, Contents } from './tables-postgres.ts'

/** What is done to the events of a case on their way. */
export interface Plan {
  /** Most events in one transaction. */
  batchMax: number
  /** Each event comes when the one before it is done with. */
  alone: boolean
  /** In which order they come: indices of the case's events. */
  orderOf: (samples: readonly Sample[], ordered: boolean) => readonly number[]
  /** All of them come once more when they are done with. */
  again: boolean
  /** At which call of the handler, as a part of all, something happens; of each one once. */
  at: readonly number[]
  what: 'nothing' | 'drop' | 'crash-before-commit' | 'crash-after-commit'
}

/** What is left when all is done. */
export interface Outcome {
  tables: Contents
  /** By event ID, the code of its dead letter. */
  letters: Readonly<Record<string, string>>
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
  const { consumer, schemas, readAs, database, tables, startMs, log } = options
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
    beforeCommit: () => trouble.beforeCommit(),
    afterCommit: () => trouble.afterCommit(),
  })
  const handler = troubled(consumer.handler, { activity, trouble, thrown })
  const { batchMax } = plan
  const run = new Run({
    consumer: { ...consumer, handler },
    storage,
    schemas,
    readAs,
    clock,
    activity,
    log,
    batchMax,
  })
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
    else if (run.waiting === 0) return
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

function told(value: unknown): string {
  const isUnordered = value instanceof Map || value instanceof Set
  // oxlint-disable-next-line typescript/require-array-sort-compare -- texts
  if (isUnordered)
    return `[${[...value]
      .map((one) => JSON.stringify(one))
      .toSorted()
      .join()}]`
  return JSON.stringify(value) ?? 'undefined'
}

/** What happens to a run at the calls that its plan names. */
class Trouble {
  run: Run | undefined
  readonly #what: Plan['what']
  readonly #at: Set<number>
  #calls = 0
  #isDue = false
  #hasCrashed = false

  constructor({ what, at }: Plan, events: number) {
    this.#what = what
    this.#at = new Set(at.map((part) => Math.floor(part * events)))
  }

  /** The handler is about to be called for so many events. */
  called(events: number): void {
    for (let event = 0; event < events; event++)
      if (this.#at.delete(this.#calls++)) this.#isDue = this.#what !== 'nothing'
    if (!this.#isDue || this.#what !== 'drop') return
    this.#isDue = false
    this.run?.drop()
  }

  beforeCommit(): void {
    if (this.#what === 'crash-before-commit') this.#crash()
  }

  afterCommit(): void {
    if (this.#what === 'crash-after-commit') this.#crash()
  }

  /** Once of each crash. */
  takeCrash(): boolean {
    const crashed = this.#hasCrashed
    this.#hasCrashed = false
    return crashed
  }

  #crash(): void {
    if (!this.#isDue) return
    this.#isDue = false
    this.#hasCrashed = true
    throw new TidegateError('DATABASE_UNREACHABLE', {
      message: 'the test has ended the process here',
      retryable: true,
      hint: 'nothing: the next process takes over',
    })
  }
}

interface Troubles {
  activity: Activity
  trouble: Trouble
  thrown: Map<string, unknown>
}

function troubled(handler: Handler, { activity, trouble, thrown }: Troubles): Handler {
  const calling = async (ids: readonly string[], call: () => Promise<void> | void): Promise<void> => {
    trouble.called(ids.length)
    try {
      await activity.count('handlers', call)
    } catch (error) {
      for (const id of ids) thrown.set(id, error)
      throw error
    }
  }
  return handler.kind === 'single'
    ? {
        kind: 'single',
        handle: (event, context) => calling([event.id], () => handler.handle(event, context)),
      }
    : {
        kind: 'batch',
        handleBatch: (entries, context) =>
          calling(
            entries.map(({ event }) => event.id),
            () => handler.handleBatch(entries, context),
          ),
      }
}

/** What a letter says, in a line. */
export function letterText({ letters, thrown }: Outcome, id: string): string {
  const error = thrown.get(id)
  return error === undefined ? String(letters[id]) : `${codeOf(error)}: ${messageOf(error)}`
}
