import type { Validate } from '../../../src/schemas/compiler.ts'
import type { Json } from '../language/json.ts'

/** A version of a type, as it lies on the disk and as it is checked. */
export interface Version {
  version: number
  schema: Json
  validate: Validate
}
