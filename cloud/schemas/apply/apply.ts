import { type KeyObject, createPublicKey } from 'node:crypto'
import type { Clock } from '../../../src/clock.ts'
import { TidegateError } from '../../../src/errors.ts'
import type { SchemaFolder } from '../../../src/schemas/folder.ts'
import type { Formats } from '../../../src/schemas/formats.ts'
import { registryOf } from '../../../src/schemas/registry.ts'
import { digestOfFiles, openSnapshot, signSnapshot, unprovenSnapshot } from '../../../src/schemas/snapshot.ts'
import type { SchemaSource } from '../../../src/schemas/source.ts'
import { noUpcasts, type Upcasts } from '../../../src/schemas/upcast/chain.ts'
import { loadUpcasts } from '../../../src/schemas/upcast/folder.ts'
import type { Storage } from '../../database/storage.ts'
import { type DeedParts, doOnce } from '../../deeds/deed-record.ts'
import type { Deed } from '../../deeds/deeds.ts'
import {
  addRevision,
  addSnapshot,
  lockRegistry,
  queryIn,
  readRevision,
  readSnapshot,
  readState,
} from '../../registry/registry-postgres.ts'
import {
  type FileChange,
  type Plan,
  planOf,
  type RegistryState,
  type Revision,
} from '../../registry/registry.ts'
import { type CheckedFolder, checkFolder } from '../checks.ts'
import type { Gate, GateOptions, GateReport } from '../gate/gate.ts'
import { settledBy } from '../gate/settled.ts'
import { doneBefore, type RecordedApply } from './done-before.ts'
import { readInTurns } from './in-turns.ts'

/** What is to be published. */
export interface ApplyWish {
  /** By path from the folder. Files that the registry has already are left out or given again. */
  files: ReadonlyMap<string, Uint8Array>
  /** These types alone; absent or none: all. */
  types?: readonly string[]
  /** What breaks only data with names that nobody described counts too. */
  strict?: boolean
  /** Makes the snapshot of a state, given the newest that there is; undefined: that one is as good. Absent: nothing is signed. */
  sign?: Signing
}

export type Signing = (state: RegistryState, newest: Uint8Array | undefined) => Uint8Array | undefined

export interface ApplyParts extends DeedParts {
  formats: Formats
  /** Where code of upcasters lies, to be run on witnesses; by default it is not run. */
  moduleAt?: SchemaSource['moduleAt']
  /** What is stored has a say too; absent: it has none. */
  gate?: Gate
  onProgress?: GateOptions['onProgress']
}

/** What would become of it. */
export interface Judged {
  /** It may be applied. */
  ok: boolean
  before: Revision
  plan: Plan
  /** Of the types that change, against what is published. */
  checked: CheckedFolder
  /** What it makes of what is stored; absent: something else is in the way already, or nobody was asked. */
  stored?: GateReport
}

/** The same without any text of a file, as it is told. */
export interface Verdict {
  ok: boolean
  before: Revision
  after: Revision
  changes: readonly FileChange[]
  lacking: readonly string[]
  checked: CheckedFolder
  stored?: GateReport
}

export function verdictOf({ ok, before, plan, checked, stored }: Judged): Verdict {
  const { changes, lacking, state } = plan
  return {
    ok,
    before: { revision: before.revision, digest: before.digest },
    after: { revision: state.revision, digest: state.digest },
    changes,
    lacking,
    checked,
    ...(stored && { stored }),
  }
}

export interface Applied {
  /** `nothing`: the registry has it all. */
  outcome: 'applied' | 'nothing' | 'refused'
  /** Absent: it had been done before under the same key, and is not judged again. */
  judged?: Judged
  /** That there is now. */
  revision: number
  digest: string
  /** A snapshot was added. */
  isSigned: boolean
}

const verb = 'apply-schemas'
/** How often others may be faster. */
const attemptsMax = 5

/**
 * Holds files against what is published: texts that stay as they are, and the compatibility of what is new with what is there.
 * @throws TidegateError `SCHEMA_PUBLISHED` | `SCHEMA_REGISTRY_FULL` | `SCHEMA_REGISTRY`, and what the storage throws
 */
export async function judgeSchemas(
  wish: ApplyWish,
  { storage, signal, formats, moduleAt, gate, onProgress }: ApplyParts,
): Promise<Judged> {
  const before = await readIn(storage, signal)
  const plan = planOf(before, wish.files, wish.types)
  const folder = await readInTurns(plan.state, { formats, moduleAt, published: before.files })
  const { upcasts, faults } = await upcastsOf(folder)
  const empty = plan.types
    .filter((type) => !folder.types.has(type))
    .map((type) => `${type}: has no version, or none that can be used`)
  const judgedFolder = { ...folder, faults: [...folder.faults, ...faults, ...empty] }
  const types = plan.types.filter((type) => folder.types.has(type))
  const strict = wish.strict ?? false
  const compared = await checkTypes(judgedFolder, types, { strict, formats, upcasts })
  // With files that cannot be used nobody can say what they would make of anything.
  if (gate === undefined || compared.faults.length > 0 || types.length === 0)
    return { ok: compared.ok, before, plan, checked: compared }
  // Not in the transaction that publishes: while that is open nobody reads history behind it.
  const options = { signal, formats, upcasts, ...(onProgress && { onProgress }) }
  const stored = await gate.judge(judgedFolder, compared, options)
  const checked = settledBy(compared, stored, strict)
  return { ok: checked.ok && stored.ok, before, plan, checked, stored }
}

/**
 * Publishes what is new, if nothing is in its way: files, revision, snapshot and the deed are one transaction, so that a crash leaves all or
 * nothing. Whoever does it again under the same key has the answer of the first time, whatever was published since. Two at once: one waits,
 * sees that the registry is another than what it has judged by, and judges again.
 * @throws TidegateError `SCHEMA_REGISTRY_MOVED` others were faster every time; `IDEMPOTENCY_KEY_REUSED` something else was done under this
 *   key; and as `judgeSchemas` and deeds do
 */
export async function applySchemas(asked: Deed<ApplyWish>, parts: ApplyParts): Promise<Applied> {
  const { request: wish, ...deed } = asked
  const done = await parts.storage.transaction((tx) => doneBefore(verb, asked, tx), parts.signal)
  if (done !== undefined) return done
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    const judged = await judgeSchemas(wish, parts)
    const { before, plan, ok } = judged
    if (!ok) return { outcome: 'refused', judged, ...before, isSigned: false }
    const { revision, digest } = plan.state
    const snapshot = await snapshotFor(wish, plan, parts)
    if (plan.changes.length === 0 && snapshot === undefined)
      return { outcome: 'nothing', judged, revision, digest, isSigned: false }
    const request = requestOf(judged, snapshot !== undefined)
    const isDone = await doOnce(verb, { ...deed, request }, parts, async (tx) => {
      await lockRegistry(tx)
      const now = await readRevision(queryIn(tx))
      if (now.digest !== before.digest || now.revision !== before.revision) throw new Moved()
      if (plan.changes.length > 0) await addRevision(tx, deed.key, plan)
      if (snapshot !== undefined) await addSnapshot(tx, deed.key, { revision, bytes: snapshot })
      return { revision, digest }
    }).then(
      () => true,
      (error: unknown) => {
        if (error instanceof Moved) return false
        throw error
      },
    )
    if (isDone) return { outcome: 'applied', judged, revision, digest, isSigned: snapshot !== undefined }
  }
  throw new TidegateError('SCHEMA_REGISTRY_MOVED', {
    message: 'the registry was changed by others again and again while these schemas were judged',
    retryable: true,
    hint: 'see who applies at the same time, and do it again',
  })
}

/** Signs with a key that stays here; a state that it has signed already is not signed again. */
export function signingWith(key: KeyObject, clock: Pick<Clock, 'now'>): Signing {
  const known = createPublicKey(key)
  return ({ revision, digest, files }, newest) => {
    if (newest !== undefined && isOf(newest, { revision, digest }, known)) return undefined
    return signSnapshot({ revision, madeTime: new Date(clock.now()).toISOString(), files }, key)
  }
}

function isOf(bytes: Uint8Array, { revision, digest }: Revision, key: KeyObject): boolean {
  try {
    const found = openSnapshot(bytes, [key])
    return found.revision === revision && digestOfFiles(found.files) === digest
  } catch {
    return false
  }
}

/**
 * Takes a snapshot that was signed elsewhere, for the state that it was made of. Whether its signature is good says whoever has the key.
 * @throws TidegateError `SCHEMA_SNAPSHOT` it is none, `SCHEMA_REGISTRY_MOVED` it is of another state
 */
export function signedElsewhere(bytes: Uint8Array): Signing {
  const said = unprovenSnapshot(bytes)
  const digest = digestOfFiles(said.files)
  return (state, newest) => {
    if (said.revision !== state.revision || digest !== state.digest)
      throw new TidegateError('SCHEMA_REGISTRY_MOVED', {
        message: `the snapshot is of revision ${said.revision}, and this would be revision ${state.revision} with digest ${state.digest.slice(0, 12)}`,
        retryable: false,
        hint: 'somebody else has applied meanwhile: read the registry, sign the state that comes of it, and do it again',
      })
    return newest && Buffer.compare(newest, bytes) === 0 ? undefined : bytes
  }
}

async function snapshotFor(
  { sign }: ApplyWish,
  { state }: Plan,
  { storage, signal }: ApplyParts,
): Promise<Uint8Array | undefined> {
  if (sign === undefined || state.revision === 0) return undefined
  const newest = await storage.transaction((tx) => readSnapshot(queryIn(tx)), signal)
  return sign(state, newest?.bytes)
}

/** The registry is another than what was judged by. */
class Moved extends Error {}

const pathsTold = 100

function requestOf({ before, plan }: Judged, isSigned: boolean): RecordedApply {
  const named = plan.changes
    .slice(0, pathsTold)
    .map(({ path, kind, sha256 }: FileChange) => ({ path, kind, sha256 }))
  const { revision, digest } = plan.state
  return { before: before.revision, revision, digest, files: plan.changes.length, named, isSigned }
}

function readIn(storage: Storage, signal: AbortSignal): Promise<RegistryState> {
  return storage.transaction((tx) => readState(queryIn(tx)), signal)
}

async function upcastsOf({ source, types }: SchemaFolder): Promise<{ upcasts: Upcasts; faults: string[] }> {
  try {
    return { upcasts: await loadUpcasts(source, registryOf(types)), faults: [] }
  } catch (error) {
    if (!(error instanceof TidegateError)) throw error
    return { upcasts: noUpcasts, faults: [error.message] }
  }
}

type CheckOptions = NonNullable<Parameters<typeof checkFolder>[2]>

/** Type by type, with time for others in between: it may be a cloud at work that does this. */
async function checkTypes(
  folder: SchemaFolder,
  types: readonly string[],
  options: CheckOptions,
): Promise<CheckedFolder> {
  const ok = folder.faults.length === 0
  let all: CheckedFolder = { ok, faults: folder.faults, unlocked: [], missing: [], types: [], inTheWay: 0 }
  for (const type of types) {
    await new Promise((resume) => setImmediate(resume))
    const one = checkFolder(folder, [type], options)
    const inTheWay = all.inTheWay + one.inTheWay
    all = { ...all, ok: ok && inTheWay === 0, types: [...all.types, ...one.types], inTheWay }
  }
  return all
}
