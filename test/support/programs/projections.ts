import { Client } from 'pg'
import { createDatabase } from '../../../cloud/database/database-postgres.ts'
import { startProjections } from '../../../cloud/projections/projections.ts'
import { systemClock } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'
import { counting } from '../cloud/counting.ts'

/**
 * A projection at work in a process of its own. Arguments: the database, and at which statement it kills itself with SIGKILL: when that is
 * on its way and nobody has heard the answer (0: at none, and it works until it is killed).
 */
const [url = '', dieAt = '0', name = 'child'] = process.argv.slice(2)

let statements = 0
// oxlint-disable-next-line typescript/unbound-method -- it is called on the client that it is asked of
const original = Client.prototype.query as unknown as (...args: unknown[]) => unknown
Client.prototype.query = function (this: Client, ...args: unknown[]) {
  const asked: unknown = original.apply(this, args)
  statements += 1
  if (statements === Number(dieAt)) setImmediate(() => process.kill(process.pid, 'SIGKILL'))
  return asked
} as never

startProjections({
  projections: [counting()],
  database: createDatabase({ url, poolMax: 4, applicationName: name }),
  instance: name,
  timeoutMs: 5_000,
  leaseMs: 300,
  batchMax: 5,
  clock: systemClock,
  random: Math.random,
  log: silentLog,
})
console.log('started')
