import { statfs } from 'node:fs/promises'
import { Level } from 'level'
import type { Clock } from '../../../src/clock.ts'
import { messageOf } from '../../../src/errors.ts'
import type { Logger } from '../../../src/log.ts'

export type SessionRecords = Level<string, Buffer>

export interface SessionDatabaseOptions {
  folder: string
  clock: Clock
  log: Logger
}

interface Range {
  gte: string
  lt: string
}

export type Operation = { type: 'put'; key: string; value: Buffer } | { type: 'del'; key: string }

/** LevelDB makes tables of its logs when it is opened: two of 4 MiB. */
const roomBytes = 12 << 20
const retryMs = 1000

/** @throws whatever LevelDB says is the matter, not the wrapper's "not open" */
export async function openRecords(folder: string): Promise<SessionRecords> {
  const records = new Level<string, Buffer>(folder, { valueEncoding: 'buffer' })
  try {
    await records.open()
    return records
  } catch (error) {
    throw error instanceof Error && error.cause !== undefined ? error.cause : error
  }
}

/**
 * What aedes-persistence-level uses of a LevelDB, over one that is opened anew after a failed write: when a table
 * could not be written, LevelDB refuses all further writes until then, however much room there is. It can be read
 * meanwhile, and is not closed before there is room, because it would not open.
 */
export class SessionDatabase {
  readonly #records: SessionRecords
  readonly #options: SessionDatabaseOptions
  #failed = false
  #closed = false
  #triedAtMs = Number.NEGATIVE_INFINITY
  #mending: Promise<void> | undefined

  constructor(records: SessionRecords, options: SessionDatabaseOptions) {
    this.#records = records
    this.#options = options
  }

  async get(key: string): Promise<Buffer | undefined> {
    await this.#ready()
    return await this.#records.get(key)
  }

  async *keys({ gte, lt }: Range): AsyncGenerator<string> {
    await this.#ready()
    yield* this.#records.keys({ gte, lt })
  }

  async *entries({ gte, lt }: Range): AsyncGenerator<[string, Buffer]> {
    await this.#ready()
    yield* this.#records.iterator({ gte, lt })
  }

  async *values({ gte, lt }: Range): AsyncGenerator<Buffer> {
    await this.#ready()
    yield* this.#records.values({ gte, lt })
  }

  put(key: string, value: Buffer): Promise<void> {
    return this.#write(() => this.#records.put(key, value))
  }

  del(key: string): Promise<void> {
    return this.#write(() => this.#records.del(key))
  }

  /** Resolves when it is on the disk that they are gone: also after a power cut. */
  removeForGood(keys: string[]): Promise<void> {
    const operations = keys.map((key): Operation => ({ type: 'del', key }))
    return this.#write(() => this.#records.batch(operations, { sync: true }))
  }

  /** Written at once, or without arguments collected first. */
  batch(operations: Operation[]): Promise<void>
  batch(): { del(key: string): void; write(): Promise<void> }
  batch(operations?: Operation[]): Promise<void> | { del(key: string): void; write(): Promise<void> } {
    if (operations) return this.#write(() => this.#records.batch(operations))
    const collected: Operation[] = []
    return {
      del: (key) => void collected.push({ type: 'del', key }),
      write: () => this.batch(collected),
    }
  }

  /** Whether what fails now fails because of that. */
  get closed(): boolean {
    return this.#closed
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#mending
    await this.#records.close()
  }

  async #write(work: () => Promise<void>): Promise<void> {
    await this.#ready()
    try {
      await work()
    } catch (error) {
      this.#noteFailure(error)
      throw error
    }
  }

  #noteFailure(error: unknown): void {
    if (this.#closed || this.#failed) return
    this.#failed = true
    this.#options.log.error(
      { code: 'SESSIONS_UNAVAILABLE', detail: messageOf(error) },
      'sessions could not be written; they are opened anew once there is room',
    )
  }

  async #ready(): Promise<void> {
    if (!this.#failed || this.#closed) return
    this.#mending ??= this.#mend().finally(() => {
      this.#mending = undefined
    })
    await this.#mending
  }

  /** Never throws: what is asked of the database then says what is the matter. */
  async #mend(): Promise<void> {
    const { folder, clock, log } = this.#options
    const nowMs = clock.monotonicMs()
    if (nowMs - this.#triedAtMs < retryMs) return
    this.#triedAtMs = nowMs
    try {
      const { bavail, bsize } = await statfs(folder)
      if (bavail * bsize < roomBytes) return
      await this.#records.close()
      await this.#records.open()
      this.#failed = false
      log.info('sessions can be written again')
    } catch (error) {
      const { cause } = error as Error
      log.error(
        { code: 'SESSIONS_UNAVAILABLE', detail: messageOf(cause ?? error) },
        'sessions could not be opened anew',
      )
    }
  }
}
