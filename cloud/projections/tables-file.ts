import { readFileSync } from 'node:fs'
import { messageOf } from '../../src/errors.ts'
import { type LoadedProjection, type Projection, projectionInvalid } from './definition.ts'

/** A projection with the SQL of its file. @throws TidegateError `PROJECTION_INVALID` */
export function withTables(projection: Projection): LoadedProjection {
  const { tables } = projection
  if (typeof tables === 'string') return { ...projection, tables }
  try {
    return { ...projection, tables: readFileSync(tables, 'utf8') }
  } catch (error) {
    throw projectionInvalid(projection.name, `tables cannot be read: ${messageOf(error)}`)
  }
}
