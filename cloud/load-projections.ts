import { TidegateError } from '../src/errors.ts'
import type { Logger } from '../src/log.ts'
import type { CloudConfig } from './config.ts'
import type { Database } from './database/database-postgres.ts'
import { importDefault, inFile, type ModuleKind } from './load-module.ts'
import {
  defineProjection,
  isProjection,
  projectionInvalid,
  type Projection,
  type ProjectionOptions,
} from './projections/definition.ts'
import { hadRollups } from './projections/built-in/former-rollups-postgres.ts'
import { devices } from './projections/built-in/devices.ts'
import { latest } from './projections/built-in/latest.ts'
import { rollups, type RollupsOptions } from './projections/built-in/rollups.ts'
import { shapes } from './projections/built-in/shapes.ts'
import { withTables } from './projections/tables-file.ts'

const builtIn = { latest, devices, shapes, rollups: rollups() } as const

/** Which: one that is built in, a version of rollups, or a module of the user's. */
export type ProjectionEntry = keyof typeof builtIn | { rollups: RollupsOptions } | { module: string }

const projectionModule: ModuleKind = {
  code: 'PROJECTION_MODULE',
  what: 'projection',
  pathHint:
    'projections[].module is the path of a JavaScript or TypeScript module, relative to the configuration file',
  exportHint:
    'export default defineProjection({ name, version, events, tables, apply }); see docs/PROJECTIONS.md',
}

/**
 * The configured projections. A module's default export is what `defineProjection` returned, or its options.
 * @throws TidegateError `PROJECTION_MODULE` | `PROJECTION_INVALID`
 */
export async function loadProjections(entries: readonly ProjectionEntry[]): Promise<Projection[]> {
  const projections: Projection[] = []
  for (const entry of entries) projections.push(await load(entry))
  const keys = projections.map(({ name, version }) => `${name} ${version}`)
  const twice = keys.find((key, index) => keys.indexOf(key) !== index)
  if (twice === undefined) return projections
  throw new TidegateError('PROJECTION_INVALID', {
    message: `two modules are projection ${twice}`,
    retryable: false,
    hint: 'name and version say which tables are whose: give one of them another',
  })
}

/** What a configuration lacks whose readers want rollups; undefined: nothing. */
export function missedRollups({
  projections,
  consumers,
}: {
  projections: readonly ProjectionEntry[]
  consumers: readonly unknown[]
}): { code: 'ROLLUPS_MISSING' | 'ROLLUPS_WITHOUT_HISTORY'; text: string } | undefined {
  const isThere = projections.some(
    (entry) => entry === 'rollups' || (typeof entry === 'object' && 'rollups' in entry),
  )
  if (!isThere)
    return {
      code: 'ROLLUPS_MISSING',
      text: 'rollups is not listed: where an installation had them, and no other cloud has, tidegate.rollups stands still; add rollups to projections',
    }
  if (consumers.includes('history')) return undefined
  return {
    code: 'ROLLUPS_WITHOUT_HISTORY',
    text: 'rollups are counted from history, and history is not among the consumers: unless another cloud stores it, nothing is counted; add history to consumers',
  }
}

async function load(entry: ProjectionEntry): Promise<Projection> {
  if (typeof entry === 'string') return builtIn[entry]
  return 'rollups' in entry ? rollups(entry.rollups) : loadModule(entry.module)
}

async function loadModule(file: string): Promise<Projection> {
  const found = await importDefault(file, projectionModule)
  return inFile(file, () => {
    const loaded = withTables(isProjection(found) ? found : defineProjection(found as ProjectionOptions))
    if (!Object.hasOwn(builtIn, loaded.name)) return loaded
    throw projectionInvalid(loaded.name, 'a projection of this name is built in: give it another')
  })
}

/** What only the database knows: that there were rollups. */
export async function warnOfRollups(config: CloudConfig, database: Database, log: Logger): Promise<void> {
  const missed = missedRollups(config)
  if (missed === undefined) return
  // Where nobody ever had rollups nobody misses them.
  const isSo = missed.code === 'ROLLUPS_WITHOUT_HISTORY' || (await hadRollups(database).catch(() => false))
  if (isSo) log.warn({ code: missed.code }, missed.text)
}
