import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Clock } from '../../src/clock.ts'
import { isSameUse, type SchemasUsed } from '../../src/contract/schemas-used.ts'
import { codeOf, messageOf, TidegateError } from '../../src/errors.ts'
import { writeDurably } from '../../src/files/durable-file.ts'
import type { Formats } from '../../src/schemas/formats.ts'
import {
  digestOfFiles,
  loadSnapshotKeys,
  openSnapshot,
  type OpenedSnapshot,
} from '../../src/schemas/snapshot.ts'
import type { Route } from '../admission/routes/routes.ts'
import { markOf, markOfFolder, readSnapshotFile, type SchemaOrigin } from './origin.ts'
import { askForSnapshot } from './snapshot-https.ts'
import { folderState, openNewer, refuseLost, type SchemaState, snapshotState } from './state.ts'

export interface SchemaReaderOptions {
  origin: SchemaOrigin
  routes: readonly Route[]
  formats: Formats
  clock: Pick<Clock, 'after'>
  /** Who answers for a `url`; default: `askForSnapshot`. */
  ask?: typeof askForSnapshot
}

/** What a read has found. */
export interface SchemasRead {
  /** Whether there was anything: a stick may be elsewhere. */
  isThere: boolean
  /** Something else than what is in force, and on the disk if it is a snapshot; undefined: nothing else. */
  state?: SchemaState
}

type Floor = Pick<SchemasUsed, 'revision' | 'key' | 'digest'>

/** Signed by a known key, and so no damage that a second answer is without. */
const provenRefusals: readonly string[] = ['SCHEMA_SNAPSHOT_OLDER', 'SCHEMA_FOLDER']

type SnapshotOrigin = SchemaOrigin & { kind: 'file' | 'url' }

/** Reads one origin: proves, compiles and keeps what it finds, in this order, before anybody may use it. One read at a time. */
export class SchemaReader {
  readonly #options: SchemaReaderOptions
  /** Of what is in force. */
  #etag: string | undefined
  /** What came under an ETag, is proven, and cannot be used whenever it comes again, as long as the keys are the same. */
  #refused: { etag: string; keys: string; error: unknown } | undefined
  /** The proven snapshot that is kept, whether it can be used or not: nothing older comes into force. */
  #floor: Floor | undefined

  constructor(options: SchemaReaderOptions) {
    this.#options = options
  }

  /**
   * @throws TidegateError `SCHEMA_FOLDER` | `SCHEMA_SNAPSHOT` | `SCHEMA_SNAPSHOT_OLDER` | `SCHEMA_SNAPSHOT_UNREACHABLE` |
   *   `SCHEMA_SNAPSHOT_UNKEPT` | `TLS_FILE_*` of a key; AbortError of `signal`
   */
  async read(inForce: SchemaState, signal: AbortSignal): Promise<SchemasRead> {
    const { origin } = this.#options
    switch (origin.kind) {
      case 'none':
        return { isThere: false }
      case 'folder': {
        const state = await folderState(origin.folder, this.#rules(inForce))
        if (isSameUse(state.used, inForce.used)) return { isThere: true }
        refuseLost(inForce, state, origin.folder)
        return { isThere: true, state }
      }
      case 'file': {
        const bytes = await readSnapshotFile(origin.file)
        return bytes === undefined ? { isThere: false } : this.#take(bytes, origin, inForce)
      }
      case 'url':
        return this.#ask(origin, inForce, signal)
    }
  }

  /**
   * What was kept; undefined: nothing yet. It was proven when it was taken, and is again: somebody may have had the disk meanwhile.
   * @throws TidegateError as `read`
   */
  async readKept(inForce: SchemaState): Promise<SchemaState | undefined> {
    const { origin } = this.#options
    if (!('kept' in origin)) return undefined
    // A key that cannot be read is a fault of the configuration, kept or not.
    const keys = loadSnapshotKeys(origin.keys)
    const bytes = await readSnapshotFile(origin.kept)
    if (bytes === undefined) return undefined
    const opened = openSnapshot(bytes, keys)
    this.#floor = floorOf(opened)
    const state = await snapshotState(opened, origin.kind, this.#rules(inForce))
    // As the cloud names a state.
    this.#etag = `"${state.used.digest ?? ''}"`
    return state
  }

  /** What its files look like now, in a text that is another when one of them has changed. */
  async look(): Promise<string> {
    const { origin } = this.#options
    if (origin.kind === 'folder') return markOfFolder(origin.folder)
    if (origin.kind === 'none') return ''
    return marksOf([...(origin.kind === 'file' ? [origin.file] : []), ...origin.keys])
  }

  /** What is kept and proven, usable or not; undefined: nothing is. */
  get floor(): Floor | undefined {
    return this.#floor
  }

  /** What was refused is fetched once more at the next read: an operator has asked. */
  forgetRefused(): void {
    this.#refused = undefined
  }

  async #ask(
    origin: SchemaOrigin & { kind: 'url' },
    inForce: SchemaState,
    signal: AbortSignal,
  ): Promise<SchemasRead> {
    const { ask = askForSnapshot, clock } = this.#options
    const keys = await marksOf(origin.keys)
    if (this.#refused?.keys !== keys) this.#refused = undefined
    const refused = this.#refused
    const answer = await ask(origin.server, refused?.etag ?? this.#etag, { clock, signal })
    // It is what was refused, and confirms nothing that is in use.
    if (answer === 'same' && refused !== undefined) throw refused.error
    if (answer === 'same') return { isThere: true }
    const { bytes, etag } = answer
    this.#refused = undefined
    try {
      const read = await this.#take(bytes, origin, inForce)
      this.#etag = etag
      return read
    } catch (error) {
      // What may be right when it comes again is fetched again: a damaged answer, a key that comes later, a disk that was full.
      if (etag !== undefined && provenRefusals.includes(codeOf(error))) this.#refused = { etag, keys, error }
      throw error
    }
  }

  async #take(
    bytes: Uint8Array,
    { keys, kept, kind }: SnapshotOrigin,
    inForce: SchemaState,
  ): Promise<SchemasRead> {
    const opened = openNewer(bytes, loadSnapshotKeys(keys), this.floor ?? inForce.used)
    const { revision, key } = inForce.used
    if (opened.revision === revision && opened.key === key) return { isThere: true }
    const state = await snapshotState(opened, kind, this.#rules(inForce))
    await keep(kept, bytes)
    this.#floor = floorOf(opened)
    return { isThere: true, state }
  }

  #rules(before: SchemaState) {
    const { routes, formats } = this.#options
    return { routes, formats, before }
  }
}

async function marksOf(paths: readonly string[]): Promise<string> {
  return (await Promise.all(paths.map(markOf))).join('\n')
}

function floorOf({ revision, key, files }: OpenedSnapshot): Floor {
  return { revision, key, digest: digestOfFiles(files) }
}

/** @throws TidegateError `SCHEMA_SNAPSHOT_UNKEPT` */
async function keep(file: string, bytes: Uint8Array): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    await writeDurably(file, bytes)
  } catch (cause) {
    throw new TidegateError('SCHEMA_SNAPSHOT_UNKEPT', {
      message: `the schema snapshot cannot be kept in ${file}: ${messageOf(cause)}`,
      retryable: true,
      hint: 'make room on the disk of the data folder, and let this user write there: what is not kept is not used',
      cause,
    })
  }
}
