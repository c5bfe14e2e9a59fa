import { TidegateError } from '../src/errors.ts'
import { importDefault, inFile, type ModuleKind } from './load-module.ts'
import {
  defineProjection,
  isProjection,
  type Projection,
  type ProjectionOptions,
} from './projections/definition.ts'
import { latest } from './projections/latest.ts'
import { withTables } from './projections/tables-file.ts'

const builtIn = { latest } as const

/** Which: one that is built in, or a module of the user's. */
export type ProjectionEntry = keyof typeof builtIn | { module: string }

const projectionModule: ModuleKind = {
  code: 'PROJECTION_MODULE',
  what: 'projection',
  pathHint: 'projections[].module is the path of a JavaScript module, relative to the configuration file',
  exportHint:
    'export default defineProjection({ name, version, events, tables, apply }); see docs/PROJECTIONS.md',
}

/**
 * The configured projections. A module's default export is what `defineProjection` returned, or its options.
 * @throws TidegateError `PROJECTION_MODULE` | `PROJECTION_INVALID`
 */
export async function loadProjections(entries: readonly ProjectionEntry[]): Promise<Projection[]> {
  const projections: Projection[] = []
  for (const entry of entries)
    projections.push(typeof entry === 'string' ? builtIn[entry] : await loadModule(entry.module))
  const keys = projections.map(({ name, version }) => `${name} ${version}`)
  const twice = keys.find((key, index) => keys.indexOf(key) !== index)
  if (twice === undefined) return projections
  throw new TidegateError('PROJECTION_INVALID', {
    message: `two modules are projection ${twice}`,
    retryable: false,
    hint: 'name and version say which tables are whose: give one of them another',
  })
}

async function loadModule(file: string): Promise<Projection> {
  const found = await importDefault(file, projectionModule)
  return inFile(file, () =>
    withTables(isProjection(found) ? found : defineProjection(found as ProjectionOptions)),
  )
}
