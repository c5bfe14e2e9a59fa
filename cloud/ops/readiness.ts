import type { TidegateError } from '../../src/errors.ts'
import type { Check } from '../../src/ops-server.ts'
import type { Group } from '../groups/group.ts'
import type { PartitionsStanding } from '../history/partitions-postgres.ts'
import type { ReplaysUnderWay, Standing } from '../letters/upkeep.ts'
import type { RunnerStatus } from '../projections/runner.ts'
import type { SchemasInUse } from '../reading/schemas.ts'
import { durationText } from '../../src/units.ts'

/** What a watcher may ask of a running cloud. */
export interface CloudState {
  groups: readonly Group[]
  /** How the dead letters of each group stand, some seconds old. */
  letters: () => readonly Standing[]
  /** The replays that have not ended, of all instances, some seconds old. */
  replays: () => ReplaysUnderWay
  /** What has waited in a lane for so long for attempts that fail starves; what waits for its turn in a backlog does not. */
  starveAfterMs: number
  /** Why the database is of no use to us, if it is of none. */
  databaseFault(): string | undefined
  /** By purpose: `consume`, `publish`. */
  brokersUp(): Readonly<Record<string, boolean>>
  /** How long readers of history have waited, and for whom, if too long. */
  horizon: { ageMs(): number; readonly heldBy: string | undefined }
  /** How this instance stands to each version of a projection that it has. */
  projections(): readonly RunnerStatus[]
  /** Versions of projections that readers see and no instance works at, some seconds old. */
  unheld(): readonly { name: string; version: number }[]
  /** Messages in queues of a group of a former version that history does not have, as far as this instance reads them. */
  retired(): { group: string; waiting: number }
  /** Settings of queues that are not as they should be, by severity; undefined where that cannot be seen. */
  findings(): Readonly<Record<string, number>> | undefined
  /** What waits for parked devices of groups that no instance runs, as of the last look. */
  unattended: () => readonly { group: string; devices: number }[]
  /** Which schemas are in use, and checks of events by the name of one that is not known here. */
  schemas: { readonly inUse: SchemasInUse; unknown: { readonly counts: ReadonlyMap<string, number> } }
  /** The partitions of history; undefined: nobody has looked yet. */
  partitions(): PartitionsStanding | undefined
  /** By its place in the configuration: days left of a certificate; 1 where its files cannot be used, so that those of before are, else 0. */
  tls: Record<'daysLeft' | 'faulty', () => Readonly<Record<string, number>>>
}

/** Ready means moving: nothing that is needed is down, and whoever has work makes progress. */
export function readiness(state: CloudState): Record<string, Check> {
  const fault = state.databaseFault()
  const checks: Record<string, Check> = {
    database: { ok: fault === undefined, detail: fault ?? 'answers' },
  }
  const { heldBy } = state.horizon
  // Nothing is worse for events that come: who reads history waits.
  if (heldBy !== undefined) {
    const detail = `readers wait for ${durationText(state.horizon.ageMs())} for ${heldBy}`
    checks['history'] = { ok: true, detail }
  }
  for (const [connection, up] of Object.entries(state.brokersUp())) {
    checks[`broker.${connection}`] = { ok: up, detail: up ? 'connected' : 'not connected' }
  }
  const { inUse } = state.schemas
  if (inUse.origin !== 'none') checks['schemas'] = { ok: true, detail: schemasText(inUse) }
  for (const group of state.groups) checks[`group.${group.name}`] = groupCheck(group, state.starveAfterMs)
  for (const status of state.projections())
    checks[`projection.${status.name}.${status.version}`] = projectionCheck(status)
  for (const { name, version } of state.unheld())
    checks[`projection.${name}.${version}`] ??= { ok: true, detail: 'active, and no instance works at it' }
  return checks
}

/** Whatever is wrong with others, those in use are good: no reason to take the instance away. */
function schemasText({ digest = '', revision, types, fault }: SchemasInUse): string {
  const which = revision === undefined ? '' : `revision ${revision}, `
  const inUse = `${which}${types} types, ${digest.slice(0, 12)}`
  return fault === undefined ? inUse : `${inUse}; others cannot be used, ${fault.code}: ${fault.message}`
}

/** Events are taken, and readers see what there is: no reason to take the instance away. That it stands still is told by a metric. */
function projectionCheck({ doing, fault }: RunnerStatus): Check {
  if (fault === undefined) return { ok: true, detail: doing }
  return { ok: true, detail: `${doing}, ${howHeld(fault)}` }
}

function groupCheck(group: Group, starveAfterMs: number): Check {
  const { ok, waiting, stalledMs } = group.progress()
  const { state } = group
  const faults = [
    ...(ok ? [] : [`nothing moved for ${durationText(stalledMs)}`]),
    ...group.lanesStarvedMs.flatMap((starvedMs, lane) =>
      starvedMs < starveAfterMs || state !== undefined
        ? []
        : [`lane ${lane} has waited for failing attempts for ${durationText(starvedMs)}`],
    ),
    ...(group.heldBy === undefined ? [] : [`held by ${howHeld(group.heldBy)}`]),
    ...(group.deliveries.subscribed || state !== undefined ? [] : ['not subscribed to every partition']),
    ...(state === undefined || state.state === 'paused' ? [] : [`${state.state}: ${state.reason}`]),
  ]
  const { draining } = group.former
  const notes = [
    ...(draining > 0 ? [`draining ${draining} queues of a former version`] : []),
    ...(state?.state === 'paused' ? [`paused by ${state.actor}: ${state.reason}`] : []),
  ]
  return { ok: faults.length === 0, detail: [`${waiting} in flight`, ...notes, ...faults].join(', ') }
}

function howHeld({ code, message, hint }: TidegateError): string {
  return `${code}: ${message}; ${hint}`
}
