import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import { createDatabase } from '../../../cloud/database/database-postgres.ts'
import { attachArchive } from '../../../cloud/retention/attach-postgres.ts'
import { asOwner } from '../../../cloud/retention/owner-postgres.ts'
import { listPartitions, retirable } from '../../../cloud/retention/partitions-postgres.ts'
import { archivePartition, retirePartition } from '../../../cloud/retention/retire-postgres.ts'
import { systemClock as clock } from '../../../src/clock.ts'

/**
 * Retires a partition, or attaches an archive. Arguments: `{ url, folder, retire }` or `{ url, folder, attach }` as JSON, and the step of its
 * log in whose moment it kills itself with SIGKILL.
 */
const [work = '', dieAt = ''] = process.argv.slice(2)
const { url, folder, retire, attach } = JSON.parse(work) as Record<string, string | undefined>

const log = pino(
  { level: 'debug' },
  {
    write(line: string) {
      if ((JSON.parse(line) as { step?: string }).step === dieAt) process.kill(process.pid, 'SIGKILL')
    },
  },
)

const database = createDatabase({ url: url ?? '', poolMax: 1, applicationName: 'retention' })
const deed = { key: randomUUID(), by: { actor: 'tester', roles: ['admin'] }, reason: 'older than 90 days' }
const { signal } = new AbortController()
await asOwner(database, { clock, random: Math.random, log, signal }, async (owner) => {
  if (attach !== undefined) return attachArchive(attach, deed, { owner })
  const partitions = await listPartitions(owner.query, { count: false })
  const archived = await archivePartition(retirable(retire ?? '', partitions, clock.now()), {
    owner,
    folder: folder ?? '',
    keepFaulty: false,
  })
  return retirePartition(archived, deed, owner)
})
await database.close()
