import { TidegateError } from '../../../src/errors.ts'
import type { Formats } from '../../../src/schemas/formats.ts'
import type { Database } from '../../database/database-postgres.ts'
import type { DeedParts } from '../../deeds/deed-record.ts'
import type { SchemasInUse } from '../../reading/schemas.ts'
import {
  readRevision,
  readRevisions,
  readSnapshot,
  readSnapshotName,
  readState,
} from '../../registry/registry-postgres.ts'
import type { RegistryState } from '../../registry/registry.ts'
import type { Gate } from '../gate/gate.ts'
import { storedGate } from '../gate/stored-gate.ts'
import { openGateSession, postgresStored } from '../gate/stored-postgres.ts'
import { type ApplyParts, applySchemas, judgeSchemas, verdictOf } from './apply.ts'
import type { SchemaDesk } from './desk.ts'

export interface SchemaDeskOptions extends DeedParts {
  /** For what is read. */
  database: Database
  formats: Formats
  inUse: () => SchemasInUse
}

/** Whoever asks by HTTP waits no longer, ms. */
const judgeMsMax = 25_000

export function postgresSchemaDesk({ database, inUse, ...parts }: SchemaDeskOptions): SchemaDesk {
  const query = database.query.bind(database)
  const gate = gateOn(database)
  const within = async <T>(work: (judging: ApplyParts) => Promise<T>): Promise<T> => {
    const late = new AbortController()
    const timer = parts.clock.after(judgeMsMax, () => late.abort(tooLong()))
    try {
      return await work({ ...parts, gate, signal: AbortSignal.any([parts.signal, late.signal]) })
    } finally {
      timer.cancel()
    }
  }
  let known: RegistryState | undefined
  return {
    inUse,
    // All of it is read where it is another than was read last.
    async state() {
      const { revision, digest } = await readRevision(query)
      if (known?.revision !== revision || known.digest !== digest) known = await readState(query)
      return known
    },
    revisions: (countMax) => readRevisions(query, countMax),
    snapshotName: () => readSnapshotName(query),
    snapshot: () => readSnapshot(query),
    judge: (wish) => within(async (judging) => verdictOf(await judgeSchemas(wish, judging))),
    apply: (deed) => within((judging) => applySchemas(deed, judging)),
  }
}

function tooLong(): TidegateError {
  return new TidegateError('TOOK_TOO_LONG', {
    message:
      'to hold all that is stored against these schemas takes longer than a request may: nothing was changed',
    retryable: false,
    hint: 'tidegate schema apply --database, which takes its time; with the projection shapes less is read',
  })
}

/** What is stored, read by a connection of its own for each time that it is asked. */
export function gateOn(database: Database): Gate {
  return {
    async judge(...asked) {
      const session = await openGateSession(database)
      try {
        return await storedGate(postgresStored(database, session)).judge(...asked)
      } finally {
        await session.end()
      }
    },
  }
}
