import { digestOf } from '../../../src/schemas/lock.ts'
import { earlierDeed, keyReused } from '../../deeds/deed-record.ts'
import type { Deed } from '../../deeds/deeds.ts'
import type { Transaction } from '../../database/storage.ts'
import { queryIn, readFilesAt } from '../../registry/registry-postgres.ts'
import { meantOf, type Revision } from '../../registry/registry.ts'

/** What stands on record of an apply: enough to know what it was, and never a text. */
export interface RecordedApply extends Revision {
  /** The revision that it was judged by. */
  before: number
  /** How many files it has added or changed, and some of them. */
  files: number
  named: readonly { path: string; kind: string; sha256: string }[]
  isSigned: boolean
}

interface Wish {
  files: ReadonlyMap<string, Uint8Array>
  types?: readonly string[]
  sign?: unknown
}

interface Done extends Revision {
  outcome: 'applied'
  isSigned: boolean
}

/**
 * The answer of an apply whose first answer was lost; undefined: nothing was done under this key. What is asked again is not what was asked
 * first: what is published by then is left out, and a snapshot has another time or none. So it is the same if the same actor gives the same reason, and
 * all files of it stood in the registry as that apply had left it.
 * @throws TidegateError `IDEMPOTENCY_KEY_REUSED` it was something else
 */
export async function doneBefore(
  verb: string,
  { key, by, reason, request: wish }: Deed<Wish>,
  tx: Transaction,
): Promise<Done | undefined> {
  const earlier = await earlierDeed(key, tx)
  if (earlier === undefined) return undefined
  if (earlier.verb !== verb || earlier.actor !== by.actor || earlier.reason !== reason) throw keyReused(key)
  const { revision, digest, isSigned } = JSON.parse(earlier.request) as RecordedApply
  const files = await readFilesAt(revision, queryIn(tx))
  const isAll = [...meantOf(wish.files, wish.types)].every(([path, bytes]) => {
    const found = files.get(path)
    return found !== undefined && digestOf(found) === digestOf(bytes)
  })
  if (!isAll || (wish.sign !== undefined && !isSigned)) throw keyReused(key)
  return { outcome: 'applied', revision, digest, isSigned }
}
