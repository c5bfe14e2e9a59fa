import { createDatabase } from '../../cloud/database/database-postgres.ts'
import { rollups, rollupsDefault } from '../../cloud/projections/built-in/rollups.ts'
import { startProjections } from '../../cloud/projections/projections.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'

/** Builds a version of rollups until it is killed. Arguments: the database, the version, and as whom. */
const [url = '', version = '2', instance = 'worker'] = process.argv.slice(2)

startProjections({
  projections: [rollups({ ...rollupsDefault, version: Number(version) })],
  database: createDatabase({ url, poolMax: 3, applicationName: instance }),
  instance,
  timeoutMs: 30_000,
  leaseMs: 2_000,
  clock: systemClock,
  random: Math.random,
  log: silentLog,
})
// Whoever started it is gone.
process.on('disconnect', () => process.exit(0))
