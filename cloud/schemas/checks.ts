import type { SchemaFolder } from '../../src/schemas/folder.ts'
import type { Formats } from '../../src/schemas/formats.ts'
import { registryOf, type StoredType } from '../../src/schemas/registry.ts'
import type { CompatibilityMode } from '../../src/schemas/type-file.ts'
import { linksBetween, noUpcasts, type Upcasts } from '../../src/schemas/upcast/chain.ts'
import { type Carried, carriedOf, faultOfCarrying } from './carrying.ts'
import { compare, type Comparison } from './compatibility/compare.ts'
import type { Finding } from './compatibility/findings.ts'
import { allRules } from './compatibility/prove.ts'
import type { Version } from './compatibility/version.ts'
import type { Json } from './language/json.ts'

/** `BACKWARD`: what was written by the earlier version is read by the later one; `FORWARD`: the other way about. */
export type Direction = 'BACKWARD' | 'FORWARD'

/**
 * What is to be done about a finding. `breaks`, `unknown`: it is refused; `accepted`: somebody has, with a reason (`type.yaml`); `open model`: it concerns a name
 * that the writer says nothing of, so whether it breaks anything is a question to what is stored; `upcast`: old data is brought forward before it is read.
 */
export type Standing = 'breaks' | 'unknown' | 'accepted' | 'open model' | 'upcast'

export interface JudgedFinding extends Finding {
  standing: Standing
  /** Of whom accepted it; or the files of the upcasters. */
  because?: string
  /** What becomes of the witness when upcasters bring it forward, if the later version does not take it then. */
  uncarried?: string
  /** Stored events of the earlier version, and how many of them fail, for this or for anything else; where somebody has looked. */
  stored?: StoredEvidence
}

export interface StoredEvidence {
  events: number
  failing: number
  /** Of whom accepted that they do. */
  because?: string
  /** The first that fails: where, and for what. */
  first?: string
}

export interface JudgedComparison {
  type: string
  /** The version that is judged, and the earlier one it is held against. */
  version: number
  against: number
  direction: Direction
  answer: Comparison['answer']
  /** Generated documents that the writer accepts and that were shown to the reader; none where something breaks. */
  tried: number
  findings: JudgedFinding[]
  /** The steps of the way from the earlier version to the later one, through every version between them, as upcasters are called. */
  steps: string[]
  /** Where upcasters lead from one to the other. */
  carried?: Carried
}

export interface CheckedType {
  type: string
  mode: CompatibilityMode
  comparisons: JudgedComparison[]
}

/** The pairs that a mode compares, each new version with those before it. */
export function pairsOf(
  mode: CompatibilityMode,
  versions: readonly number[],
  version: number,
): { against: number; direction: Direction }[] {
  if (mode === 'NONE') return []
  const earlier = versions.filter((one) => one < version).toSorted((one, other) => other - one)
  const against = mode.endsWith('_TRANSITIVE') ? earlier : earlier.slice(0, 1)
  const directions: Direction[] = [
    ...(mode.startsWith('FORWARD') ? [] : (['BACKWARD'] as const)),
    ...(mode.startsWith('BACKWARD') ? [] : (['FORWARD'] as const)),
  ]
  return against.flatMap((one) => directions.map((direction) => ({ against: one, direction })))
}

/** Which versions of a type are judged: the newest, and those that are not in the lock yet, but for what was in use before there was one; or every one. */
function judgedVersions(
  type: string,
  versions: readonly number[],
  { lock, types }: SchemaFolder,
  all: boolean,
): number[] {
  if (all) return [...versions]
  const { asPublished = 0 } = (types.get(type) as StoredType).settings
  return versions.filter(
    (version) =>
      version > asPublished && (version === versions.at(-1) || !lock?.has(`${type}/${version}.json`)),
  )
}

/** What `tidegate schema check` has found. */
export interface CheckedFolder {
  ok: boolean
  /** Of files. */
  faults: readonly string[]
  /** Files that are not in the lock yet, and files of the lock that are gone. */
  unlocked: readonly string[]
  missing: readonly string[]
  types: readonly CheckedType[]
  /** Findings that count. */
  inTheWay: number
}

/** Holds a folder to its lock, and its types, all or these, to their modes. */
export function checkFolder(
  folder: SchemaFolder,
  types: readonly string[],
  { strict = false, ...options }: CheckOptions & { strict?: boolean } = {},
): CheckedFolder {
  const chosen = types.length > 0 ? types : [...folder.types.keys()]
  const checked = chosen.map((type) => checkType(folder, type, options))
  const findings = checked.flatMap(({ comparisons }) => comparisons.flatMap((one) => one.findings))
  const inTheWay = findings.filter((one) => isInTheWay(one, strict)).length
  const { unlocked, missing } = lockFindings(folder)
  const ok = folder.faults.length + unlocked.length + missing.length + inTheWay === 0
  return { ok, faults: folder.faults, unlocked, missing, types: checked, inTheWay }
}

export interface CheckOptions {
  /** Every version; else the newest, and what is not in the lock yet. */
  all?: boolean
  formats?: Formats
  /** What is said to bring data forward is tried on the documents that show what it is for. */
  upcasts?: Upcasts
}

/** Judges the versions of a type by its mode. */
export function checkType(
  folder: SchemaFolder,
  type: string,
  { all = false, formats = 'checked', upcasts = noUpcasts }: CheckOptions = {},
): CheckedType {
  const registry = registryOf(folder.types)
  const stored = folder.types.get(type) as StoredType
  const mode = stored.settings.compatibility
  const versions = versionsOf(stored)
  const comparisons = judgedVersions(type, versions, folder, all).flatMap((version) =>
    pairsOf(mode, versions, version).map(({ against, direction }) => {
      const pair = { version, against, direction }
      const links = linksBetween(type, against, version, { registry, upcasts })
      const reader = versionAt(stored, version)
      const { answer, findings, tried } = compareVersions(stored, pair, formats)
      const carries = (document: Json): string | undefined => faultOfCarrying(document, links, reader)
      const judged = findings.map((one) => judge(one, { folder, type, ...pair, carries }))
      const isCarried = judged.some(({ standing }) => standing === 'upcast')
      const carried = isCarried ? { carried: carriedOf(versionAt(stored, against), reader, links) } : {}
      const steps = links.map(({ from, to }) => `${from}-${to}`)
      return { type, ...pair, answer, tried, findings: judged, steps, ...carried }
    }),
  )
  return { type, mode, comparisons }
}

export function versionsOf({ versions }: StoredType): number[] {
  return [...versions.keys()].toSorted((one, other) => one - other)
}

export function compareVersions(
  stored: StoredType,
  { version, against, direction }: { version: number; against: number; direction: Direction },
  formats: Formats = 'checked',
): Comparison {
  const later = versionAt(stored, version)
  const earlier = versionAt(stored, against)
  const others = [...stored.versions.values()].map(({ schema }) => schema as Json)
  const [writer, reader] = direction === 'BACKWARD' ? [earlier, later] : [later, earlier]
  return compare(writer, reader, { others, rules: rulesFor(formats) })
}

/** What is asked of a reader, as formats are read. */
export function rulesFor(formats: Formats): typeof allRules {
  return formats === 'checked' ? allRules : withoutFormats
}

/** Where a format is an annotation it asks for nothing. */
const withoutFormats: typeof allRules = {
  ...allRules,
  format: { of: ['format'], holds: () => 'holds' },
}

function versionAt({ versions }: StoredType, version: number): Version {
  const { schema, validate } = versions.get(version) as { schema: unknown; validate: Version['validate'] }
  return { version, schema: schema as Json, validate }
}

interface Judging {
  folder: SchemaFolder
  type: string
  version: number
  against: number
  direction: Direction
  carries: (document: Json) => string | undefined
}

function judge(finding: Finding, judging: Judging): JudgedFinding {
  const { folder, type, version, against, direction, carries } = judging
  const way = direction === 'BACKWARD' ? upcastersOf(folder, type, against, version) : undefined
  if (way !== undefined) {
    const uncarried = finding.witness === undefined ? undefined : carries(finding.witness)
    return {
      ...finding,
      standing: 'upcast',
      because: way.join(', '),
      ...(uncarried !== undefined && { uncarried }),
    }
  }
  if (finding.isUndeclared) return { ...finding, standing: 'open model' }
  if (finding.answer === 'unknown') {
    const { accepted } = (folder.types.get(type) as StoredType).settings
    const match = accepted.find(
      (one) =>
        one.version === version &&
        (one.against ?? against) === against &&
        one.direction === direction &&
        one.rule === finding.rule &&
        [finding.path, finding.schemaPath].includes(one.path),
    )
    return match
      ? { ...finding, standing: 'accepted', because: match.reason }
      : { ...finding, standing: 'unknown' }
  }
  return { ...finding, standing: 'breaks' }
}

/** The files that bring data of one version to another, step by step; undefined: there is no way. */
export function upcastersOf(
  { digests }: SchemaFolder,
  type: string,
  from: number,
  to: number,
): string[] | undefined {
  const steps = [...digests.keys()].flatMap((name) => {
    const [, start, end] = name.startsWith(`${type}/`) ? (/\/upcast\/(\d+)-(\d+)\.\w+$/.exec(name) ?? []) : []
    return end === undefined
      ? []
      : [{ name: name.slice(type.length + 1), start: Number(start), end: Number(end) }]
  })
  const way: string[] = []
  for (let at = from; at < to;) {
    // The shortest step that is there, as readers of events go.
    const next = steps
      .filter(({ start, end }) => start === at && end <= to)
      .toSorted((a, b) => a.end - b.end)[0]
    if (next === undefined || next.end <= at) return undefined
    way.push(next.name)
    at = next.end
  }
  return way
}

/** What of a folder is not as its lock says: files that are not in it yet, and files that are gone. */
export function lockFindings({ lock, digests }: SchemaFolder): { unlocked: string[]; missing: string[] } {
  const names = [...digests.keys()].toSorted()
  return {
    unlocked: names.filter((name) => !lock?.has(name)),
    missing: [...(lock?.keys() ?? [])].filter((name) => !digests.has(name)).toSorted(),
  }
}

/** Whether a finding is in the way of a version. */
export function isInTheWay({ standing, uncarried, stored }: JudgedFinding, strict: boolean): boolean {
  if (standing === 'breaks' || standing === 'unknown') return true
  const isSettled = stored?.failing === 0 || stored?.because !== undefined
  const isOpen = standing === 'open model' && !isSettled
  return strict && (isOpen || uncarried !== undefined)
}
