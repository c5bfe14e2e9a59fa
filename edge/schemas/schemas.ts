import { backoffMs } from '../../src/backoff.ts'
import type { Clock, Random } from '../../src/clock.ts'
import type { SchemasUsed } from '../../src/contract/schemas-used.ts'
import { codeOf, isAbort, messageOf, TidegateError } from '../../src/errors.ts'
import { FileWatch } from '../../src/files/file-watch.ts'
import { groupCommit } from '../../src/group-commit.ts'
import type { Logger } from '../../src/log.ts'
import { ambiguityHint } from '../../src/schemas/upcast/ambiguous.ts'
import { createSchemaCheck, type SchemaCheck, type SchemaUse } from '../admission/schema-check.ts'
import { SchemaReader, type SchemaReaderOptions } from './reader.ts'
import { noState, type SchemaState } from './state.ts'

/** Why schemas were refused, or did not come; the values of the metric's `reason`. */
export const schemaRefusals = ['unreachable', 'invalid', 'older', 'unusable', 'unkept'] as const

export type SchemaRefusal = (typeof schemaRefusals)[number]

const refusalOf: Readonly<Record<string, SchemaRefusal>> = {
  SCHEMA_SNAPSHOT: 'invalid',
  SCHEMA_SNAPSHOT_OLDER: 'older',
  SCHEMA_FOLDER: 'unusable',
  SCHEMA_SNAPSHOT_UNKEPT: 'unkept',
}

export interface SchemasOptions extends SchemaReaderOptions {
  unknownTypes: 'accept' | 'reject'
  clock: Clock
  random: Random
  log: Logger
}

/** For whoever looks. */
export interface SchemasSeen {
  used: SchemasUsed
  /** Since its origin last said that what is in use is what there is; undefined: it has not since the start. */
  confirmedMs: number | undefined
  /** How often something else came into use since the start. */
  changes: number
  refused: Readonly<Record<SchemaRefusal, number>>
}

/** Folders of many files are looked at less often: each file costs a look. */
const folderLookEveryMs = 5000
/** What is faulty may come right without anybody writing it again: a disk has room, somebody may read it. */
const tryAgainAfterMs = 60_000
const retryMsMin = 5000
/** A gateway that has something to judge by need not ask at once, and a fleet that starts together is not to. */
const firstAskWithinMs = 10_000

/**
 * Which schemas the gateway judges by, followed while it runs. One state is in force at a time, whole: it changes between two readings, for all
 * doors at once. What comes and cannot be used is told, counted, and changes nothing.
 */
export class Schemas {
  /** By versions that are accepted. */
  readonly use: SchemaUse = new Map()
  readonly #options: SchemasOptions
  readonly #reader: SchemaReader
  #state: SchemaState = noState
  #check: SchemaCheck
  readonly #reads = groupCommit<void, boolean>((asked) => this.#readFor(asked), { itemsMax: Infinity })
  readonly #closing = new AbortController()
  readonly #refused = new Map<SchemaRefusal, number>()
  #note: (used: SchemasUsed) => void = () => {}
  #watch: FileWatch | undefined
  #marks = ''
  #told = ''
  #confirmedAtMs: number | undefined
  #changes = 0
  #again: { cancel(): void } | undefined
  #polling: Promise<void> | undefined

  /**
   * Ready to judge. Of snapshots the one that was kept is taken, so that a start needs nobody; only where there is none it waits for one.
   * @throws TidegateError `SCHEMA_FOLDER`, `SCHEMA_SNAPSHOT` and `TLS_FILE_*` of keys, or `SCHEMA_SNAPSHOT_MISSING` where without schemas
   *   readings would be turned away
   */
  static async load(options: SchemasOptions): Promise<Schemas> {
    const schemas = new Schemas(options)
    await schemas.#begin()
    return schemas
  }

  private constructor(options: SchemasOptions) {
    this.#options = options
    this.#reader = new SchemaReader(options)
    this.#check = this.#checkOf(noState)
  }

  /** Of one reading: by the state that is in force when it is called. */
  readonly check: SchemaCheck = (type, reading, routeVersion) => this.#check(type, reading, routeVersion)

  /**
   * From now on what changes is read. `note` is told what is in force, at once and with each change: whatever is judged after it was called was
   * judged by that.
   */
  follow(note: (used: SchemasUsed) => void): void {
    const { origin, clock } = this.#options
    this.#note = note
    note(this.#state.used)
    if (origin.kind === 'url') this.#polling = this.#poll(origin.everyMs)
    if (origin.kind !== 'file' && origin.kind !== 'folder') return
    this.#watch = new FileWatch({
      look: () => this.#reader.look(),
      read: this.#marks,
      onChanged: () => this.reload(),
      clock,
      ...(origin.kind === 'folder' && { everyMs: folderLookEveryMs }),
    })
  }

  /** Reads, or asks, at once. Never rejects: what is faulty is told, and what was in force stays. */
  async reload(): Promise<void> {
    this.#reader.forgetRefused()
    if (this.#options.origin.kind !== 'none') await this.#reads.submit()
  }

  seen(): SchemasSeen {
    const atMs = this.#confirmedAtMs
    const counted = schemaRefusals.map((reason) => [reason, this.#refused.get(reason) ?? 0])
    return {
      used: this.#state.used,
      confirmedMs: atMs === undefined ? undefined : this.#options.clock.monotonicMs() - atMs,
      changes: this.#changes,
      refused: Object.fromEntries(counted) as Record<SchemaRefusal, number>,
    }
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort()
    this.#watch?.close()
    await this.#polling
    await this.#reads.close()
    this.#again?.cancel()
  }

  async #begin(): Promise<void> {
    const { origin } = this.#options
    // Before they are read: what is written meanwhile is then read once more.
    this.#marks = await this.#reader.look()
    if (origin.kind === 'folder') return this.#read()
    const fault = await this.#takeKept()
    if (origin.kind === 'file' || (origin.kind === 'url' && this.#state === noState))
      await this.#readTelling()
    if (origin.kind !== 'none' && this.#state === noState) this.#startWithout(fault)
  }

  /** What is wrong with it, if something is. */
  async #takeKept(): Promise<unknown> {
    const { origin, log } = this.#options
    try {
      const state = await this.#reader.readKept(noState)
      if (state) this.#adopt(state)
      return undefined
    } catch (error) {
      if (!('kept' in origin) || codeOf(error).startsWith('TLS_FILE')) throw error
      const about = { code: codeOf(error), detail: messageOf(error), file: origin.kept }
      log.warn(about, 'the schema snapshot that was kept cannot be used')
      return error
    }
  }

  #startWithout(keptFault: unknown): void {
    const whyNot = [
      ...(this.#told === '' ? [] : [this.#told]),
      ...(keptFault === undefined ? [] : [`of the one that was kept: ${messageOf(keptFault)}`]),
    ]
    const missing = missingSnapshot(whyNot)
    if (needsSchemas(this.#options)) throw missing
    const { code, hint, message } = missing
    this.#options.log.warn({ code, hint }, `${message}; nothing is checked until it comes`)
  }

  async #readFor(asked: readonly void[]): Promise<boolean[]> {
    await this.#watch?.beforeReading()
    const isSound = await this.#readTelling()
    return asked.map(() => isSound)
  }

  /** Whether nothing was wrong. */
  async #readTelling(): Promise<boolean> {
    const { origin, clock } = this.#options
    this.#again?.cancel()
    try {
      await this.#read()
      this.#told = ''
      return true
    } catch (error) {
      if (this.#closing.signal.aborted || isAbort(error)) return false
      this.#tell(error)
      if (origin.kind !== 'url') this.#again = clock.after(tryAgainAfterMs, () => void this.reload())
      return false
    }
  }

  async #read(): Promise<void> {
    const { signal } = this.#closing
    const { isThere, state } = await this.#reader.read(this.#state, signal)
    if (signal.aborted) return
    if (state) this.#adopt(state)
    if (isThere) this.#confirmedAtMs = this.#options.clock.monotonicMs()
  }

  /** Nothing is awaited in here: a reading is judged before it or after it. */
  #adopt(state: SchemaState): void {
    const { log } = this.#options
    if (this.#state !== noState) this.#changes += 1
    this.#state = state
    this.#check = this.#checkOf(state)
    this.#note(state.used)
    for (const text of state.ambiguities) log.warn({ code: 'SCHEMA_AMBIGUOUS', hint: ambiguityHint }, text)
    log.info({ ...state.used }, 'schemas came into use')
  }

  #checkOf({ registry }: SchemaState): SchemaCheck {
    const { unknownTypes } = this.#options
    return createSchemaCheck({ schemas: registry, unknownTypes, schemaUse: this.use })
  }

  /** Each fault once, until there is another or none. */
  #tell(error: unknown): void {
    const reason = refusalOf[codeOf(error)] ?? 'unreachable'
    this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1)
    const detail = messageOf(error)
    if (detail === this.#told) return
    this.#told = detail
    const hint = error instanceof TidegateError ? { hint: error.hint } : {}
    const about = { code: codeOf(error), reason, detail, ...hint }
    this.#options.log.error(about, 'schemas are not used, or did not come; what was in use stays')
  }

  async #poll(everyMs: number): Promise<void> {
    const { clock, random } = this.#options
    const { signal } = this.#closing
    let waitMs = Math.min(everyMs, firstAskWithinMs) * random()
    let failed = 0
    while (await hasSlept(clock, waitMs, signal)) {
      failed = (await this.#reads.submit()) ? 0 : failed + 1
      const retry = { delayMsMin: Math.min(retryMsMin, everyMs), delayMsMax: everyMs }
      waitMs = failed === 0 ? everyMs * (0.75 + 0.5 * random()) : backoffMs(failed, retry, random)
    }
  }
}

/** False: aborted. */
async function hasSlept(clock: Clock, delayMs: number, signal: AbortSignal): Promise<boolean> {
  return clock.sleep(delayMs, signal).then(
    () => true,
    () => false,
  )
}

/** Where types without a schema pass nothing of a device is lost; where they are turned away, or a route names a version, all would be. */
export function needsSchemas({
  routes,
  unknownTypes,
}: Pick<SchemasOptions, 'routes' | 'unknownTypes'>): boolean {
  return unknownTypes === 'reject' || routes.some(({ schemaVersion }) => schemaVersion !== undefined)
}

export function missingSnapshot(whyNot: readonly string[]): TidegateError {
  return new TidegateError('SCHEMA_SNAPSHOT_MISSING', {
    message: ['there is no schema snapshot to begin with', ...whyNot].join('; '),
    retryable: true,
    hint: 'let the gateway reach schemas.snapshot.url, or put one where schemas.snapshot.file says; see docs/SCHEMAS.md, Snapshot',
  })
}
