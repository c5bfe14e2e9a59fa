import { z } from 'zod'

/** The keys that a schema knows. */
export interface KnownKeys {
  /** Of the mapping at a path; none where there is none, or where every key is somebody's own. */
  at(path: readonly PropertyKey[]): string[]
  /** Every path from the top to a mapping or a value, lists left out. */
  paths: readonly (readonly string[])[]
}

interface Node {
  properties?: Record<string, Node>
  additionalProperties?: Node | boolean
  items?: Node
  anyOf?: Node[]
  allOf?: Node[]
}

export function knownKeys(schema: z.ZodType): KnownKeys {
  const top = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Node
  return {
    at: (path) => [...new Set(nodesAt(top, path).flatMap(({ properties = {} }) => Object.keys(properties)))],
    paths: pathsOf(top),
  }
}

function nodesAt(top: Node, path: readonly PropertyKey[]): Node[] {
  let nodes = branches(top)
  for (const step of path) {
    nodes = nodes
      .flatMap(({ properties, additionalProperties, items }) => [
        typeof step === 'number' ? items : properties?.[String(step)],
        typeof additionalProperties === 'object' ? additionalProperties : undefined,
      ])
      .filter((node) => node !== undefined)
      .flatMap(branches)
  }
  return nodes
}

/** A schema, or what it may be one of. */
function branches(node: Node): Node[] {
  const { anyOf = [], allOf = [] } = node
  return [node, ...[...anyOf, ...allOf].flatMap(branches)]
}

function pathsOf(node: Node): string[][] {
  return branches(node).flatMap(({ properties = {} }) =>
    Object.entries(properties).flatMap(([key, child]) => [
      [key],
      ...pathsOf(child).map((rest) => [key, ...rest]),
    ]),
  )
}
