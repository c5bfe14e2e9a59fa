import type { Clock } from '../../src/clock.ts'
import type { Exported, ExportFilter } from '../outbox/look/export.ts'
import type { FindAsked, Finding } from '../outbox/look/finding.ts'
import type { Inspection } from '../outbox/look/inspection.ts'
import type { Verification } from '../outbox/look/verification.ts'
import type { Scratch } from '../store/leveldb/scratch.ts'

/** What `inspect` tells; the last three only of a gateway that is running. */
export interface QueueReport extends Inspection {
  diskBytes: number
  inFlight?: number
  waiting?: number
  refusing?: string
}

/** A gateway's queue, at rest or at work. */
export interface Queue {
  readonly running: boolean
  /** What is wrong with it as a whole; what is told of it then is told of a repaired copy. */
  readonly findings: readonly string[]
  inspect(devicesMax: number): Promise<QueueReport>
  verify(): Promise<Verification>
  find(asked: FindAsked): Promise<Finding>
  export(filter: ExportFilter): AsyncIterable<Exported>
  close(): Promise<void>
}

export interface QueueOptions {
  /** A data folder, or a store that was set aside. */
  dataDir: string
  clock: Clock
  scratch: Scratch
}
