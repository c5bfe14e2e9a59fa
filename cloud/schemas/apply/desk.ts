import type { Deed } from '../../deeds/deeds.ts'
import type { SchemasInUse } from '../../reading/schemas.ts'
import type { RevisionRecord, StoredSnapshot } from '../../registry/registry-postgres.ts'
import type { RegistryState } from '../../registry/registry.ts'
import type { Applied, ApplyWish, Verdict } from './apply.ts'

/** The registry as the API of a cloud offers it. */
export interface SchemaDesk {
  /** Of this instance. */
  inUse(): SchemasInUse
  state(): Promise<RegistryState>
  /** The newest so many, newest first. */
  revisions(countMax: number): Promise<RevisionRecord[]>
  /** The newest that was signed; undefined: none ever was. */
  snapshotName(): Promise<StoredSnapshot | undefined>
  snapshot(): Promise<(StoredSnapshot & { bytes: Uint8Array }) | undefined>
  /** Writes nothing. @throws TidegateError as `judgeSchemas` does */
  judge(wish: ApplyWish): Promise<Verdict>
  /** @throws TidegateError as `applySchemas` does */
  apply(deed: Deed<ApplyWish>): Promise<Applied>
}
