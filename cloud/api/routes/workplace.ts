import type { Deed } from '../../deeds/deeds.ts'
import type { Mint, Wish } from '../tokens/mint.ts'
import type { TokenRecord } from '../tokens/tokens.ts'

/** What a person may say of a failure group; null takes it away. */
export interface GroupChange {
  note?: string | null | undefined
  owner?: string | null | undefined
  issue?: string | null | undefined
  status?: 'open' | 'muted' | 'resolved' | undefined
}

/** Deeds about versions of projections. Each throws TidegateError `PROJECTION_UNKNOWN`, and what stands beside it. */
export interface ProjectionDeeds {
  /** `PROJECTION_ACTIVE`, `PROJECTION_BEHIND`, `PROJECTION_UNHELD`, `PROJECTION_IN_USE`, `PROJECTION_VIEW_USED`, `PROJECTION_HISTORY_SHORTER` */
  switchProjection(
    deed: Deed<{
      name: string
      version?: number | undefined
      back?: true | undefined
      force?: true | undefined
    }>,
  ): Promise<{ name: string; version: number; former: number }>
  /** `PROJECTION_ACTIVE`, `PROJECTION_HISTORY_SHORTER` */
  rebuildProjection(deed: Deed<ProjectionVersionKey & { force?: true }>): Promise<ProjectionVersionKey>
  /** `PROJECTION_NOT_HALTED`, `PROJECTION_HALTED_ELSEWHERE` */
  resumeProjection(
    deed: Deed<ProjectionVersionKey & { skip?: string }>,
  ): Promise<ProjectionVersionKey & { skipped: { source: string; id: string } | null }>
  /** `PROJECTION_ACTIVE`, `PROJECTION_HELD`, `PROJECTION_IN_USE` */
  dropProjection(deed: Deed<ProjectionVersionKey>): Promise<ProjectionVersionKey>
  /** `PROJECTION_JOBS_FULL` */
  compareProjection(deed: Deed<ProjectionVersionKey & { sample: number }>): Promise<{ job: string }>
  /** In the active version. `PROJECTION_JOBS_FULL`, `PROJECTION_HISTORY_SHORTER` */
  rebuildDevice(deed: Deed<{ name: string; device: string; force?: true }>): Promise<{ job: string }>
}

interface ProjectionVersionKey {
  name: string
  version: number
}

/** Deeds that are not about letters. Each is on record, in the transaction of its effect. */
export interface Workplace extends ProjectionDeeds {
  /** @throws Refusal `FAILURE_GROUP_UNKNOWN`, `FAILURE_GROUP_CHANGED` (it is not what `ifMatch` says any more) */
  changeGroup(
    deed: Deed<{ fingerprint: string; change: GroupChange; ifMatch: string }>,
  ): Promise<{ fingerprint: string }>
  /** Has a group take nothing until somebody resumes it, or so long. */
  pause(deed: Deed<{ group: string; forMs?: number | undefined }>): Promise<{ group: string }>
  /** Back to work, whoever had paused it and why ever it had tripped. @throws Refusal `GROUP_NOT_PAUSED` */
  resume(deed: Deed<{ group: string }>): Promise<{ group: string }>
  /** The first events of parked devices are tried now. @throws Refusal `DEVICE_NOT_PARKED` of one that is named */
  release(deed: Deed<ParkedAsked>): Promise<ParkedChanged>
  /**
   * Events of parked devices become dead letters: the first of each, if it has failed, or all that wait.
   * @throws Refusal `DEVICE_NOT_PARKED` of one that is named, `DEVICE_IN_HAND`
   */
  skip(deed: Deed<ParkedAsked & { what: 'first' | 'all' }>): Promise<ParkedChanged>
  /**
   * Mints a token. It is answered once, and stands on no record: only its ID does.
   * @throws Refusal `TOKEN_SHOWN_ONCE` when the same is asked for again
   */
  mintToken(deed: Deed<Wish>, mint: Mint): Promise<{ token: string; jti: string; expiresAt: string }>
  revokeToken(deed: Deed<{ jti: string }>, untilMs: number): Promise<TokenRecord>
}

/** Parked devices of a group: all of them, one, or those whose last failure had that code. */
export interface ParkedAsked {
  group: string
  device?: string | undefined
  code?: string | undefined
}

export interface ParkedChanged {
  group: string
  devices: number
  /** Others that were in hand at that moment. */
  inHand: number
}
