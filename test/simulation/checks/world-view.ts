import type { Stage } from '../parts/faults.ts'
import type { ProjectionAtWork } from '../parts/projection.ts'
import type { HistoryReaderAtWork } from '../parts/reader.ts'
import type { Truth } from '../parts/truth.ts'
import type { Plan } from '../plan/plan.ts'

/** All that a check may look at. */
export interface World extends Stage {
  truth: Truth
  plan: Plan
  reader: HistoryReaderAtWork
  projection: ProjectionAtWork
}
