import type { SchemaRegistry } from '../../../src/schemas/registry.ts'
import type { Consumer } from '../../pipeline/definition.ts'
import type { ExecutionOptions } from './execution.ts'
import { testLaws } from './laws.ts'
import type { LawOptions, LawReport } from './options.ts'
import { Samples } from './sample.ts'

export interface Judged extends Omit<ExecutionOptions, 'reset' | 'outside'> {
  /** Of schemas. */
  folder: string
}

/** Tries the laws on a consumer, in a database that is its own meanwhile. @throws TidegateError `LAW_…` */
export function judge(judged: Judged, options: LawOptions): Promise<LawReport> {
  const { consumer, schemas, folder, startMs } = judged
  const { samples: given = {}, expected = [], reset = () => {}, outside = () => undefined } = options
  const versionsOf = (type: string): number[] => versionsThatCome(consumer, schemas, type)
  const samples = new Samples({ consumer, schemas, folder, given, versionsOf, startMs })
  return testLaws({ ...judged, samples, expected: new Set(expected), reset, outside }, options)
}

/** Of a type that it wants: all that there are; of one that asks for a version that one and those before it, which are brought forward to it. */
function versionsThatCome(consumer: Consumer, schemas: SchemaRegistry, type: string): number[] {
  const wanted = consumer.wantedVersion(type)
  return schemas.versions(type).filter((version) => wanted === undefined || version <= wanted)
}
