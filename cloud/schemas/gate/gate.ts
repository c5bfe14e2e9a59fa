import type { SchemaFolder } from '../../../src/schemas/folder.ts'
import type { Formats } from '../../../src/schemas/formats.ts'
import type { Upcasts } from '../../../src/schemas/upcast/chain.ts'
import type { CheckedFolder } from '../checks.ts'

/**
 * Holds what is stored, in history and among the open dead letters, against the versions that are judged. Changes nothing. Port; the adapter of what is
 * stored is stored-postgres.ts.
 */
export interface Gate {
  /**
   * Judges each type of `checked` that has versions, by its newest version and by each version that was compared.
   * @throws TidegateError `DATABASE_*`, `SCHEMA_FOLDER` (upcasters that cannot be used), and the reason of `signal`
   */
  judge(folder: SchemaFolder, checked: CheckedFolder, options?: GateOptions): Promise<GateReport>
}

export interface GateOptions {
  /** Ends the reading between two pages. */
  signal?: AbortSignal
  onProgress?: (progress: GateProgress) => void
  /** As the sides say in `schemas.formats`; default `checked`. The folder is to have been read with the same. */
  formats?: Formats
  /** Default: those of the folder. */
  upcasts?: Upcasts
}

export interface GateProgress {
  type: string
  /** Partitions of history that are read for this type, or of which what came after the shapes is, and how many of them have been. */
  toRead: number
  done: number
  /** Events that were read for this type, and how many of them would fail. */
  read: number
  failing: number
}

export interface GateReport {
  /** Nothing that is stored is in the way. */
  ok: boolean
  /** The answer is about history up to this cursor (docs/CONSUMERS.md); what was stored after that nobody has looked at. */
  upTo: string
  /** Why shapes could not be asked, and everything was read; absent: they were asked. */
  withoutShapes?: string
  /** State of the projection, if it was asked and is not live: what it has not counted was read. */
  shapesAre?: string
  verdicts: readonly StoredVerdict[]
}

/** What a version makes of what is stored of its type. */
export interface StoredVerdict {
  type: string
  version: number
  /** By the version that events name. */
  groups: readonly StoredGroup[]
  /** Of history: how many there are, those that were read for this type, and those of which events were read that came after the shapes. */
  partitions: { there: number; read: readonly string[]; tails: readonly string[] }
  letters: LettersVerdict
}

/**
 * `fine`: none would fail. `fails`: it is in the way. `accepted`: somebody has, with a reason (`type.yaml`, rule `stored`). `told`: it fails, and nobody was promised that
 * it would not.
 */
export type StoredStanding = 'fine' | 'fails' | 'accepted' | 'told'

/** Events that name one version, or none (`undefined`). */
export interface StoredGroup {
  version: number | undefined
  stored: number
  failing: number
  standing: StoredStanding
  /** Of whom accepted it. */
  because?: string
  /** Where it fails: the steps from the version that they name to the one that is judged, as upcasters are called. */
  steps?: readonly string[]
  /** The first that would fail, in the order of partitions and of history in each. */
  first?: FailingEvent
}

export interface FailingEvent {
  cursor: string
  position: number
  source: string
  id: string
  /** RFC 3339. */
  recordedTime: string
  /** Of what would be thrown: docs/ERRORS.md. */
  code: string
  /** What is wrong, without a value of the data. */
  fault: string
  /** JSON of the value that is refused, or of what an upcaster's code said of it, cut; payload, which not everybody may see. Absent: it is not one place that is amiss. */
  value?: string
}

/** Open dead letters of the type. */
export interface LettersVerdict {
  /** Whose code is one of schemas and upcasters, and how many of them would pass now. */
  refused: number
  wouldPass: number
  /** That failed for other reasons, and how many of them would be refused now. */
  others: number
  wouldFail: number
}
