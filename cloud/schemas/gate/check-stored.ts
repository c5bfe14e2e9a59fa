import { systemClock } from '../../../src/clock.ts'
import type { SchemaFolder } from '../../../src/schemas/folder.ts'
import { visible } from '../../../src/visible.ts'
import { type DatabaseChoice, openChosenDatabase } from '../../database-choice.ts'
import type { CheckedFolder } from '../checks.ts'
import type { GateOptions, GateProgress, GateReport } from './gate.ts'
import { openGateSession, postgresStored } from './stored-postgres.ts'
import { storedGate } from './stored-gate.ts'
import { progressText } from './told.ts'

const tellEveryMs = 1000

/** For `tidegate schema check --stored`: tells on a terminal how far it is. @throws as `openChosenDatabase` and `Gate` do */
export async function checkStored(
  choice: DatabaseChoice,
  folder: SchemaFolder,
  checked: CheckedFolder,
  options: Pick<GateOptions, 'formats' | 'upcasts'>,
): Promise<GateReport> {
  const database = await openChosenDatabase(choice, 'tidegate schema check')
  try {
    const session = await openGateSession(database)
    try {
      const telling = process.stderr.isTTY ? { onProgress: nowAndThen() } : {}
      return await storedGate(postgresStored(database, session)).judge(folder, checked, {
        ...options,
        ...telling,
      })
    } finally {
      await session.end()
    }
  } finally {
    await database.close()
  }
}

function nowAndThen(): (progress: GateProgress) => void {
  let toldMs = systemClock.monotonicMs()
  return (progress) => {
    const nowMs = systemClock.monotonicMs()
    if (nowMs - toldMs < tellEveryMs) return
    toldMs = nowMs
    process.stderr.write(`${visible(progressText(progress))}\n`)
  }
}
