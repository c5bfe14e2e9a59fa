import { messageOf } from '../errors.ts'
import type { KnownKeys } from './known-keys.ts'
import { nearest } from './nearest.ts'
import { isTree, readYamlValue, type Tree } from './yaml-file.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Which variable set a path (as JSON), and what is wrong with variables, one line each. */
export interface Applied {
  origins: ReadonlyMap<string, string>
  faults: string[]
}

export interface EnvironmentOptions {
  /** `TIDEGATE_EDGE` */
  prefix: string
  env: Environment
  known: KnownKeys
}

/**
 * Sets in the tree what the environment says. A variable that was meant for this side and names nothing is a fault, never ignored: one
 * underscore too few, and a gateway runs with another port than its operator believes.
 */
export function applyEnvironment(tree: Tree, { prefix, env, known }: EnvironmentOptions): Applied {
  const origins = new Map<string, string>()
  const faults: string[] = []
  for (const [name, raw] of Object.entries(env)) {
    if (raw === undefined) continue
    if (!name.startsWith(`${prefix}__`)) {
      if (isMeantFor(prefix, name) && !isFromKubernetes(name, raw))
        faults.push(unknownVariable(name, prefix, known))
      continue
    }
    try {
      const value = readYamlValue(raw)
      origins.set(JSON.stringify(set(tree, name.slice(prefix.length + 2).split('__'), value, known)), name)
    } catch (error) {
      faults.push(`${name}: its value is not valid YAML: ${messageOf(error)}; put it in quotes`)
    }
  }
  return { origins, faults }
}

/** Sets a value, and says at which path: of a key that is known, written as it is known. */
function set(tree: Tree, segments: readonly string[], value: unknown, known: KnownKeys): string[] {
  const path: string[] = []
  let node = tree
  for (const [index, segment] of segments.entries()) {
    const wanted = bare(segment)
    const keys = [...Object.keys(node), ...known.at(path)]
    const key = keys.find((key) => key.toLowerCase() === wanted) ?? camel(segment)
    path.push(key)
    if (index === segments.length - 1) {
      node[key] = value
      break
    }
    const child = node[key]
    const branch: Tree = isTree(child) ? child : {}
    node[key] = branch
    node = branch
  }
  return path
}

/** Of the side's own prefix with other underscores or letters, or of one that is a slip away from it. */
function isMeantFor(prefix: string, name: string): boolean {
  const upper = name.toUpperCase()
  if (upper.startsWith(`${prefix}_`)) return true
  const [, first = ''] = /^TIDEGATE_+([A-Z]+?)_/.exec(upper) ?? []
  const side = prefix.slice('TIDEGATE_'.length)
  return upper.includes('__') && first !== '' && nearest(first, [side]) !== undefined
}

/** Kubernetes tells every container of the services beside it: one named `tidegate-edge` is no setting. */
function isFromKubernetes(name: string, value: string): boolean {
  return (
    /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/.test(name) ||
    (name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value))
  )
}

function unknownVariable(name: string, prefix: string, known: KnownKeys): string {
  const written = new Map(known.paths.map((path) => [bare(path.join('')), path]))
  const meant = nearest(bare(name.replace(/^tidegate_*[a-z]+?_+/i, '')), [...written.keys()])
  const path = meant === undefined ? undefined : written.get(meant)
  const suggestion =
    path === undefined
      ? `variables are ${prefix}__ and a path with __ between its keys`
      : `did you mean ${prefix}__${path.map(constant).join('__')}?`
  return `${name}: sets nothing; ${suggestion}`
}

/** `DATA_DIR`, `dataDir` → `datadir` */
function bare(text: string): string {
  return text.replaceAll('_', '').toLowerCase()
}

/** `DATA_DIR` → `dataDir` */
function camel(segment: string): string {
  return segment.toLowerCase().replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
}

/** `dataDir` → `DATA_DIR` */
function constant(key: string): string {
  return key.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase()
}
