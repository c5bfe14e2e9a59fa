import { firstFitting, versionNamed } from '../../src/schemas/fitting.ts'
import { TidegateError } from '../../src/errors.ts'
import { schemaName, type SchemaRegistry } from '../../src/schemas/registry.ts'
import type { Ambiguity } from '../../src/schemas/upcast/ambiguous.ts'
import type { Fault } from './quarantine.ts'
import type { Reading } from './reading.ts'
import type { Route } from './routes/routes.ts'

export interface SchemaCheckOptions {
  schemas: SchemaRegistry
  /** What to do with types that have no schema. */
  unknownTypes: 'accept' | 'reject'
  /** What is counted of the checks; by default nobody asks. */
  schemaUse?: SchemaUse
}

/** `dataschema` of the version it was checked against; undefined when the type has none. */
export type SchemaVerdict = { ok: true; dataschema: string | undefined } | { ok: false; fault: Fault }

/** Judges a reading of this type that came by a route which says this version, or none. */
export type SchemaCheck = (type: string, reading: Reading, routeVersion?: number) => SchemaVerdict

/** Who said which version it is: its `dataschema`, the route it came by, or nobody, and it is the newest that takes it. */
export const versionChoices = ['named', 'route', 'fit'] as const

export type VersionChoice = (typeof versionChoices)[number]

/** Readings that passed, by the name of their version and who chose it. As many entries as the folder has versions that are accepted (G7). */
export type SchemaUse = Map<string, Record<VersionChoice, number>>

/**
 * Holds a reading against a version of its type, of all that are not retired, so that a new version turns no device away that an older one
 * takes. Which: the one that its `dataschema` names; else the one that its route names; else the newest that takes the data, going down. An
 * older one is tried only when all newer ones have refused.
 */
export function createSchemaCheck({
  schemas,
  unknownTypes,
  schemaUse = new Map(),
}: SchemaCheckOptions): SchemaCheck {
  const types = new Map(schemas.types.map((type) => [type, new TypeCheck(type, schemas, schemaUse)]))
  const names = new Set([...types.values()].flatMap(({ names }) => names))
  for (const name of schemaUse.keys()) if (!names.has(name)) schemaUse.delete(name)
  return (type, reading, routeVersion) => {
    const known = types.get(type)
    if (known) return known.check(reading, routeVersion)
    if (unknownTypes === 'accept') return { ok: true, dataschema: undefined }
    return refused('SCHEMA_UNKNOWN', `there is no schema for ${type}`)
  }
}

interface Version {
  verdict: SchemaVerdict
  used: Record<VersionChoice, number>
}

class TypeCheck {
  readonly #type: string
  readonly #schemas: SchemaRegistry
  /** That are not retired, the newest first. */
  readonly #accepted: readonly number[]
  readonly #versions: ReadonlyMap<number, Version>

  constructor(type: string, schemas: SchemaRegistry, use: SchemaUse) {
    const retired = schemas.retired(type)
    this.#type = type
    this.#schemas = schemas
    this.#accepted = schemas
      .versions(type)
      .filter((version) => !retired.has(version))
      .toReversed()
    this.#versions = new Map(
      this.#accepted.map((version) => {
        const dataschema = schemaName(type, version)
        // Those that were counted under the schemas before count on.
        const used = use.get(dataschema) ?? { named: 0, route: 0, fit: 0 }
        use.set(dataschema, used)
        return [version, { verdict: { ok: true, dataschema }, used }]
      }),
    )
  }

  /** Of the versions that are accepted. */
  get names(): string[] {
    return this.#accepted.map((version) => schemaName(this.#type, version))
  }

  check({ dataschema, data }: Reading, routeVersion: number | undefined): SchemaVerdict {
    // Only names of our form choose a version; any other URI is the device's own affair.
    const named = versionNamed(this.#type, dataschema)
    if (named !== undefined) return this.#checkOne(named, 'named', data)
    if (routeVersion !== undefined) return this.#checkOne(routeVersion, 'route', data)
    const fitting = firstFitting(this.#schemas, this.#type, this.#accepted, data)
    if (fitting !== undefined) return this.#passed(fitting, 'fit')
    return this.#fitsNone(data)
  }

  #checkOne(version: number, choice: VersionChoice, data: unknown): SchemaVerdict {
    if (!this.#versions.has(version)) return this.#notAccepted(version)
    if (this.#schemas.firstFault(this.#type, version, data) === undefined)
      return this.#passed(version, choice)
    return refused('SCHEMA_VIOLATION', this.#schemas.faults(this.#type, version, data).join('; '))
  }

  #passed(version: number, choice: VersionChoice): SchemaVerdict {
    const { verdict, used } = this.#versions.get(version) as Version
    used[choice] += 1
    return verdict
  }

  #notAccepted(version: number): SchemaVerdict {
    const name = schemaName(this.#type, version)
    return this.#schemas.has(this.#type, version)
      ? refused('SCHEMA_RETIRED', `${name} is retired: ${this.#listed() || 'no version is left'}`)
      : refused('SCHEMA_UNKNOWN', `there is no ${name}: ${this.#listed()}`)
  }

  /** What is wrong with it is said of the newest: that is what a device should send. */
  #fitsNone(data: unknown): SchemaVerdict {
    const [newest, ...older] = this.#accepted
    if (newest === undefined) return refused('SCHEMA_RETIRED', `every version of ${this.#type} is retired`)
    const faults = this.#schemas.faults(this.#type, newest, data).join('; ')
    if (older.length === 0) return refused('SCHEMA_VIOLATION', faults)
    const others =
      older.length === 1 ? `version ${older[0]} does not take it either` : `nor does an older one take it`
    return refused('SCHEMA_VIOLATION', `version ${newest}: ${faults}; ${others}`)
  }

  #listed(): string {
    const versions = this.#accepted.toReversed().join(', ')
    return versions === '' ? '' : `accepted are ${versions}`
  }
}

/** @throws TidegateError `SCHEMA_FOLDER` naming each route whose `schemaVersion` no reading could pass */
export function refuseUnknownVersions(routes: readonly Route[], schemas: SchemaRegistry): void {
  const faults = routes.flatMap(({ topic, type, schemaVersion: version }) => {
    if (type === undefined || version === undefined) return []
    if (!schemas.has(type, version)) return [`${topic}: there is no ${schemaName(type, version)}`]
    return schemas.retired(type).has(version) ? [`${topic}: ${schemaName(type, version)} is retired`] : []
  })
  if (faults.length === 0) return
  throw new TidegateError('SCHEMA_FOLDER', {
    message: `routes name versions that are not accepted:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
    retryable: false,
    hint: 'correct schemaVersion of these routes, or put <type>/<version>.json into the folder of schemas.folder',
  })
}

/** Those that readings may meet: of a type that comes by a route which does not say its version. */
export function ambiguitiesOn(routes: readonly Route[], found: readonly Ambiguity[]): Ambiguity[] {
  const open = routes.filter(({ schemaVersion }) => schemaVersion === undefined)
  const captures = open.some(({ topic }) => topic.includes('{type}'))
  return found.filter(({ type }) => captures || open.some((route) => route.type === type))
}

function refused(reason: Fault['reason'], detail: string): SchemaVerdict {
  return { ok: false, fault: { reason, detail } }
}
