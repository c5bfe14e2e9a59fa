import { resolve } from 'node:path'
import { TidegateError } from '../src/errors.ts'
import { evidenceIn } from './evidence/evidence.ts'
import { lockFolder, type Lock } from './servers/lock.ts'
import { pathOf } from './stack/paths.ts'
import type { Stack } from './stack/stack.ts'

/** A run delivers what an earlier one left in the folder's outbox and queues. @throws TidegateError `EVIDENCE_KEPT` */
export function refuseToAlterEvidence(dir: string): void {
  const file = evidenceIn(dir)
  if (file === undefined) return
  throw new TidegateError('EVIDENCE_KEPT', {
    message: `the books of an earlier run in ${pathOf(dir)} did not balance, and another run would change what is left of it`,
    retryable: false,
    hint: `see ${pathOf(file)} first; then start afresh with \`rm -r ${pathOf(dir)}\`, or go on with what the folder holds by removing that file alone, or give another --dir`,
  })
}

/** @throws TidegateError `ALREADY_RUNNING` */
export function lockRun(dir: string): Lock {
  try {
    return lockFolder(resolve(dir))
  } catch (error) {
    if (!(error instanceof TidegateError) || error.code !== 'ALREADY_RUNNING') throw error
    throw new TidegateError('ALREADY_RUNNING', {
      message: error.message.replace('running a server in', 'running Tidegate in'),
      retryable: true,
      hint: 'stop it first, or run a second one beside it in another folder: npm start -- --dir .tidegate/second',
    })
  }
}

export function keptLine({ dir }: Stack): string {
  return `Nothing was deleted: outbox, servers' data and logs lie in ${pathOf(dir)}, and the next run there goes on with them.`
}
