import type { Deed } from '../../deeds/deeds.ts'

/** What a person may say of a failure group; null takes it away. */
export interface GroupChange {
  note?: string | null | undefined
  owner?: string | null | undefined
  issue?: string | null | undefined
  status?: 'open' | 'muted' | 'resolved' | undefined
}

/** Deeds that are about what was read here, and not about letters. */
export interface Workplace {
  /** @throws Refusal `FAILURE_GROUP_UNKNOWN`, `FAILURE_GROUP_CHANGED` (it is not what `ifMatch` says any more) */
  changeGroup(
    deed: Deed<{ fingerprint: string; change: GroupChange; ifMatch: string }>,
  ): Promise<{ fingerprint: string }>
  /** Lets a parked device be tried now. Absent: nothing is parked by this version. @throws TidegateError `DEVICE_NOT_PARKED` */
  release?:
    | ((deed: Deed<{ group: string; device: string }>) => Promise<{ group: string; device: string }>)
    | undefined
}
