import { visibleLine } from '../../../src/visible.ts'
import type { ProjectionItem, ProjectionJob, ProjectionVersion } from '../../api/rules/shapes.ts'
import { fields, shortTime, table } from '../text.ts'

/** What the API says of projections, as a person reads it, in 80 columns. */

export function projectionsText(projections: readonly ProjectionItem[]): string {
  if (projections.length === 0)
    return 'no projections: none is in the configuration of a cloud that has run here'
  const rows = projections.flatMap(({ name, versions }) =>
    versions.map((version) => ({
      cells: [
        name,
        version.version,
        version.isActive ? 'active' : '',
        version.state,
        version.applied,
        percent(version),
        Math.round(version.perSecond ?? 0),
      ],
      beneath: haltedText(version) ?? (version.holder === null ? 'nobody works at it' : ''),
    })),
  )
  return table(['projection', 'version', 'readers', 'state', 'events', 'done', 'per second'], rows)
}

function percent({ share }: ProjectionVersion): string {
  return `${Math.floor(share * 100)}%`
}

function haltedText({ halted }: ProjectionVersion): string | undefined {
  if (halted === null) return undefined
  const { id, source, code, message } = halted
  return `stopped at ${id} of ${source}: ${code}${message === undefined ? '' : ` ${message}`}`
}

export function projectionText(
  { name, active, former, switchedAt, versions }: ProjectionItem,
  nowMs: number,
): string {
  const head = fields([
    ['projection', name],
    ['readers see', active === null ? 'nothing yet' : `version ${active} since ${shortTime(switchedAt)}`],
    ['before', former === null ? null : `version ${former}`],
  ])
  return [head, ...versions.map((version) => versionText(version, nowMs))].join('\n\n')
}

function versionText(version: ProjectionVersion, nowMs: number): string {
  const { state, applied, perSecond, lagSeconds, endsAt, startedAt, liveAt, holder, halted } = version
  return fields([
    ['version', `${version.version}, ${state}${version.isActive ? ', active' : ''}`],
    ['events', `${applied} applied, ${percent(version)} of what there was when it began`],
    ['rate', perSecond === null || liveAt !== null ? null : `${Math.round(perSecond)} a second`],
    [
      'ends',
      endsAt === null ? null : `${shortTime(endsAt)} (UTC), in ${minutes(Date.parse(endsAt) - nowMs)}`,
    ],
    ['behind', lagSeconds === null ? null : `${Math.round(lagSeconds)} s`],
    ['began', shortTime(startedAt)],
    ['live', liveAt === null ? null : `since ${shortTime(liveAt)}`],
    ['works', holder ?? (version.isActive ? 'nobody: readers see nothing that comes from now on' : 'nobody')],
    [
      'stopped',
      halted === null ? null : `${shortTime(halted.at)} at ${halted.id} of ${halted.source} (${halted.type})`,
    ],
    ['cause', halted && `${halted.code}${halted.message === undefined ? '' : `: ${halted.message}`}`],
  ])
}

function minutes(ms: number): string {
  return ms < 120_000 ? `${Math.max(0, Math.round(ms / 1000))} s` : `${Math.round(ms / 60_000)} min`
}

export function jobText({ name, version, kind, device, outcome, failed, message }: ProjectionJob): string {
  if (failed !== null || outcome === null)
    return `it could not be done: ${failed ?? ''}${message ? `: ${visibleLine(message)}` : ''}`
  if (kind === 'rebuild-device')
    return `${device} of ${name} ${version}: ${outcome.removed} rows taken away, ${outcome.applied} events applied again`
  const counted = (outcome.tables ?? []).map(({ table, rows, activeRows }) => ({
    cells: [table, rows, activeRows ?? '-'],
  }))
  const differing = (outcome.differing ?? []).map(
    ({ key, table, beside, missing }) =>
      `  ${visibleLine(key)} in ${table}: ${beside} rows that history does not say, ${missing} that are missing`,
  )
  if (outcome.same === null)
    return `${table(['table', 'rows', 'in the active version'], counted)}\nnothing was compared: there is no key`
  const verdict = outcome.same
    ? `${outcome.sampled} keys computed again from history: the same`
    : `of ${outcome.sampled} keys computed again from history these are not the same:`
  return [table(['table', 'rows', 'in the active version'], counted), verdict, ...differing].join('\n')
}
