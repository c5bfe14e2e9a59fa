import { existsSync, readFileSync } from 'node:fs'
import { TidegateError } from '../../src/errors.ts'
import { loadSchemas } from '../../src/schemas/folder.ts'
import { noSchemas, type SchemaRegistry } from '../../src/schemas/registry.ts'
import { folderSource } from '../../src/schemas/source.ts'
import { noUpcasts, type Upcasts } from '../../src/schemas/upcast/chain.ts'
import { loadUpcasts } from '../../src/schemas/upcast/folder.ts'
import { createReadAs, type ReadAs } from '../../src/schemas/upcast/read-as.ts'
import { parseDuration } from '../../src/units.ts'
import { postgresStorage } from '../database/storage-postgres.ts'
import type { SingleConsumerOptions } from '../pipeline/consumer.ts'
import { defineConsumer } from '../pipeline/consumer.ts'
import type { Consumer, Handler } from '../pipeline/definition.ts'
import type { HandlerLog } from '../pipeline/handlers/handler-log.ts'
import { numbered } from '../pipeline/handlers/tagged.ts'
import { Activity, watched } from './activity.ts'
import { TestGateway } from './events.ts'
import type { GivenEvent } from './given.ts'
import { judge } from './laws/judge.ts'
import type { LawOptions, LawReport } from './laws/options.ts'
import { ConsumerTables } from './laws/tables-postgres.ts'
import { Run } from './run.ts'
import { openTestDatabase, type TestDatabase } from './test-database.ts'
import { VirtualClock } from './virtual-clock.ts'

export interface TestConsumerOptions {
  /** The folder of schemas: events given are checked as at the edge. Default: `schemas`, if there is one. */
  schemas?: string
  /** SQL of the consumer's own tables, or a file of it. */
  sql?: string | URL
  /** `postgres://…` of a server that is used in place of PGlite. Default: `TIDEGATE_PG_URL`. */
  database?: string
  /** When the test begins. Default: 2026-01-01T00:00:00Z. */
  now?: string
  /** Where handlers log. Default: nowhere. */
  log?: HandlerLog
}

/** An event that is among the dead letters. */
export interface TestLetter {
  id: string | undefined
  type: string | undefined
  device: string | undefined
  code: string
  message: string
  attempts: number
}

/** A consumer at work in a test. Nothing in it waits for a clock: time moves when `advance` says so. */
export interface TestConsumer {
  /**
   * Sends events to it, as they come from the edge. Resolves when all that follows from them without time passing is done and committed.
   * @throws TidegateError `SCHEMA_VIOLATION` of one that the edge would not let in
   */
  given(type: string, events: GivenEvent | readonly GivenEvent[]): Promise<void>
  /** Those given by what it answers fail: their handler is called, and then the error is thrown, so many times. Default: always. */
  failing(error: unknown, times?: number): Pick<TestConsumer, 'given'>
  /** Lets time pass, `'1m'` or ms, with all that comes of it: attempts, timeouts, letters. */
  advance(time: string | number): Promise<void>
  /** Rows of the database, as a tag: `` t.rows`select device from alerts` ``. */
  rows<Row = Record<string, unknown>>(
    sql: TemplateStringsArray,
    ...params: readonly unknown[]
  ): Promise<Row[]>
  /** What has failed for good, the oldest first. */
  readonly deadLetters: readonly TestLetter[]
  /** Events that came and are not done with: their device is parked, they wait for their next attempt, or for what is unavailable. */
  readonly waiting: number
  /**
   * Tests of this consumer what docs/GUARANTEES.md promises of it, with events made from its schemas, in a database of its own.
   * @throws TidegateError `LAW_BROKEN` with the fewest and simplest events that show it, and the seed; `LAW_VACUOUS` when nothing that
   *   it does was seen; `LAW_WITHOUT_EVENTS`
   */
  laws(options?: LawOptions): Promise<LawReport>
  /** Idempotent. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const silent: HandlerLog = { debug() {}, info() {}, warn() {}, error() {} }
const begins = '2026-01-01T00:00:00Z'

/**
 * A consumer, as `defineConsumer` answers it or as its options, behind the pipeline that the cloud has, with its transactions in PostgreSQL.
 * @throws TidegateError `CONSUMER_INVALID`, `SCHEMA_FOLDER`, `PGLITE_MISSING`, `TEST_TABLES`, `DATABASE_UNREACHABLE`
 */
export async function testConsumer(
  consumer: Consumer | SingleConsumerOptions,
  options: TestConsumerOptions = {},
): Promise<TestConsumer> {
  const { log = silent } = options
  const checked = 'handler' in consumer ? consumer : defineConsumer(consumer)
  const schemas = schemasOf(options.schemas)
  const readAs = createReadAs(schemas, await upcastsOf(options.schemas, schemas))
  const url = options.database ?? process.env['TIDEGATE_PG_URL']
  const sql = sqlOf(options.sql)
  const open = (): Promise<TestDatabase> => openTestDatabase({ group: checked.group, sql, url, log })
  const startMs = Date.parse(options.now ?? begins)
  const folder = options.schemas ?? 'schemas'
  return new Harness(checked, { schemas, readAs, folder, open, opened: await open(), startMs, log })
}

interface Parts {
  schemas: SchemaRegistry
  readAs: ReadAs
  folder: string
  /** Another database, as `opened` was at first. */
  open: () => Promise<TestDatabase>
  opened: TestDatabase
  startMs: number
  log: HandlerLog
}

class Harness implements TestConsumer {
  deadLetters: readonly TestLetter[] = []
  readonly #consumer: Consumer
  readonly #parts: Parts
  readonly #gateway: TestGateway
  readonly #activity = new Activity()
  readonly #failures = new Map<string, { error: unknown; left: number }>()
  readonly #run: Run
  #closing: Promise<void> | undefined

  constructor(consumer: Consumer, parts: Parts) {
    const { schemas, opened } = parts
    this.#consumer = consumer
    this.#parts = parts
    const clock = new VirtualClock(parts.startMs)
    const activity = this.#activity
    this.#gateway = new TestGateway(schemas, () => clock.now())
    const storage = watched(postgresStorage(opened.database), { activity, now: () => clock.now() })
    const handler = failingHandler(countedHandler(consumer.handler, activity), this.#failures)
    this.#run = new Run({ consumer, handler, parts, storage, clock, activity, batchMax: 50 })
  }

  get waiting(): number {
    return this.#run.waiting
  }

  async given(type: string, events: GivenEvent | readonly GivenEvent[]): Promise<void> {
    await this.#give(type, events, () => {})
  }

  failing(error: unknown, times = Infinity): Pick<TestConsumer, 'given'> {
    return {
      given: (type, events) =>
        this.#give(type, events, (id) => this.#failures.set(id, { error, left: times })),
    }
  }

  async advance(time: string | number): Promise<void> {
    const byMs = parseDuration(time)
    if (byMs === undefined)
      throw new TidegateError('OPTIONS_INVALID', {
        message: `${JSON.stringify(time)} is no time that can pass`,
        retryable: false,
        hint: "write '90s', '1m', '2h', or milliseconds as a number",
      })
    await this.#run.advance(byMs)
    await this.#look()
  }

  async rows<Row>(sql: TemplateStringsArray, ...params: readonly unknown[]): Promise<Row[]> {
    return (await this.#parts.opened.database.query(numbered(sql), params)) as Row[]
  }

  async laws(options: LawOptions = {}): Promise<LawReport> {
    const opened = await this.#parts.open()
    try {
      const tables = await ConsumerTables.of(opened.database)
      const { database } = opened
      return await judge({ ...this.#parts, consumer: this.#consumer, database, tables }, options)
    } finally {
      await opened.close()
    }
  }

  close(): Promise<void> {
    return (this.#closing ??= (async () => {
      await this.#run.close()
      await this.#parts.opened.close()
    })())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #give(
    type: string,
    events: GivenEvent | readonly GivenEvent[],
    begin: (id: string) => void,
  ): Promise<void> {
    if (!this.#consumer.wants(type)) throw unwanted(this.#consumer, type)
    const made = [events]
      .flat()
      .map((event) => this.#gateway.next(type, event, this.#consumer.wantedVersion(type)))
    for (const { id } of made) begin(id)
    this.#run.post(made)
    await this.#run.settle()
    await this.#look()
  }

  async #look(): Promise<void> {
    this.deadLetters = await this.#parts.opened.database.query<TestLetter>(
      `select id, type, device, code, message, attempts from tidegate.dead_letters where consumer_group = $1 order by letter`,
      [this.#consumer.group],
    )
  }
}

function countedHandler(handler: Handler, activity: Activity): Handler {
  return handler.kind === 'single'
    ? {
        kind: 'single',
        handle: (event, context) => activity.count('handlers', () => handler.handle(event, context)),
      }
    : {
        kind: 'batch',
        handleBatch: (entries, context) =>
          activity.count('handlers', () => handler.handleBatch(entries, context)),
      }
}

function failingHandler(handler: Handler, failures: Map<string, { error: unknown; left: number }>): Handler {
  const fail = (ids: readonly string[]): void => {
    const failure = ids.map((id) => failures.get(id)).find((found) => found !== undefined && found.left > 0)
    if (failure === undefined) return
    failure.left--
    throw failure.error
  }
  return handler.kind === 'single'
    ? {
        kind: 'single',
        async handle(event, context) {
          await handler.handle(event, context)
          fail([event.id])
        },
      }
    : {
        kind: 'batch',
        async handleBatch(entries, context) {
          await handler.handleBatch(entries, context)
          fail(entries.map(({ event }) => event.id))
        },
      }
}

function unwanted({ group, types }: Consumer, type: string): TidegateError {
  return new TidegateError('EVENT_UNWANTED', {
    message: `consumer ${group} takes no ${type}: it would never be handed one`,
    retryable: false,
    hint: `it takes ${types.join(', ')}`,
  })
}

function schemasOf(folder: string | undefined): SchemaRegistry {
  if (folder === undefined && !existsSync('schemas')) return noSchemas
  return loadSchemas(folder ?? 'schemas')
}

async function upcastsOf(folder: string | undefined, schemas: SchemaRegistry): Promise<Upcasts> {
  if (folder === undefined && !existsSync('schemas')) return noUpcasts
  return loadUpcasts(folderSource(folder ?? 'schemas'), schemas)
}

function sqlOf(sql: string | URL | undefined): string {
  if (sql === undefined) return ''
  const isFile = sql instanceof URL || sql.endsWith('.sql')
  return isFile ? readFileSync(sql, 'utf8') : sql
}
