import type { Formats } from '../../../src/schemas/formats.ts'
import { systemClock } from '../../../src/clock.ts'
import { digestOf } from '../../../src/schemas/lock.ts'
import type { SchemaSource } from '../../../src/schemas/source.ts'
import type { Database } from '../../database/database-postgres.ts'
import { requireSchema } from '../../database/migrate-postgres.ts'
import { migrations } from '../../database/migrations/all.ts'
import { trustNoSchema } from '../../database/roles-postgres.ts'
import { postgresStorage } from '../../database/storage-postgres.ts'
import { userName } from '../../os-user.ts'
import { readState } from '../../registry/registry-postgres.ts'
import type { GateOptions } from '../gate/gate.ts'
import { type ApplyParts, applySchemas, judgeSchemas, signingWith, verdictOf } from './apply.ts'
import { gateOn } from './desk-postgres.ts'
import type { Door } from './door.ts'

export interface PostgresDoorOptions {
  database: Database
  formats: Formats
  moduleAt: SchemaSource['moduleAt']
  signal: AbortSignal
  onProgress?: GateOptions['onProgress']
}

/** Whoever may write to the database publishes by it, as a user of the role tidegate_writer does. */
export function postgresDoor({ database, signal, ...options }: PostgresDoorOptions): Door {
  const storage = postgresStorage(database)
  const parts: ApplyParts = {
    ...options,
    storage,
    clock: systemClock,
    random: Math.random,
    signal,
    gate: gateOn(database),
  }
  return {
    async list() {
      const { revision, digest, files } = await readState(database.query.bind(database))
      const digests = [...files].map(([path, bytes]) => [path, digestOf(bytes)] as const)
      return { revision, digest, files: new Map(digests) }
    },
    judge: async (wish) => verdictOf(await judgeSchemas(wish, parts)),
    async apply(wish, { reason, deed, key }) {
      const by = { actor: `local:${userName()}`, roles: ['registrar'] }
      const request = { ...wish, ...(key && { sign: signingWith(key, systemClock) }) }
      return applySchemas({ key: deed, by, reason, request }, parts)
    },
  }
}

/** @throws TidegateError `DATABASE_*` it does not answer, or is of another version */
export async function requireReady(database: Database): Promise<void> {
  await database.probe()
  const client = await database.connect()
  try {
    await trustNoSchema(client)
    await requireSchema(client, migrations, database.where)
  } finally {
    client.release(true)
  }
}
