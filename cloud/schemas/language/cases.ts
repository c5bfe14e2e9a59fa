import { allKinds, type Kind } from './json.ts'
import { childrenOf, keyOf, type Node, standing } from './node.ts'
import type { Work } from './work.ts'
import { conditionOf, dependentsOf, schemaAt, textAt } from './words.ts'

/**
 * Values that all of `nodes` accept by their own keywords and none of `nots` does, of these kinds. What nodes say by `allOf`, `$ref`, `anyOf` and their like is
 * spread over `nodes` and over several cases; what cannot be is left out: a case may hold more values than its schema accepts, never fewer.
 */
export interface Case {
  readonly nodes: readonly Node[]
  readonly nots: readonly Node[]
  readonly kinds: ReadonlySet<Kind>
  /** There were more alternatives than are looked at: what some of them say is left out. */
  readonly isCut?: boolean
}

export const everyKind: ReadonlySet<Kind> = new Set(allKinds)

/** Cases of one schema; further alternatives are left out. */
const casesMax = 128

interface Open {
  nodes: Map<string, Node>
  nots: Map<string, Node>
  /** What is still to be spread. */
  left: Node[]
  /** One of each is still to be chosen. */
  choices: Choice[][]
  isCut: boolean
}

/** What one of several alternatives says. */
interface Choice {
  are?: readonly Node[]
  areNot?: readonly Node[]
}

/** The cases of a value that all these schemas accept, among those of a case if one is given: what that has chosen stays chosen. */
export function casesOf(
  schemas: readonly Node[],
  work: Work,
  { nodes = [], nots = [], kinds = everyKind, isCut = false }: Partial<Case> = {},
): Case[] {
  const begin: Open = { nodes: byKey(nodes), nots: byKey(nots), left: [...schemas], choices: [], isCut }
  const done: Case[] = []
  const open = [begin]
  for (let one = open.pop(); one !== undefined; one = open.pop()) {
    work.spend(1)
    if (!spread(one, work)) continue
    const choice = one.choices.pop()
    if (choice === undefined) {
      done.push({ nodes: [...one.nodes.values()], nots: [...one.nots.values()], kinds, isCut: one.isCut })
      continue
    }
    if (done.length + open.length + choice.length > casesMax) open.push({ ...one, isCut: true })
    else for (const chosen of choice) open.push(withChoice(one, chosen))
  }
  return done
}

function byKey(nodes: readonly Node[]): Map<string, Node> {
  return new Map(nodes.map((node) => [keyOf(node), node]))
}

function withChoice({ nodes, nots, choices, isCut }: Open, { are = [], areNot = [] }: Choice): Open {
  return {
    nodes: new Map(nodes),
    nots: new Map([...nots, ...byKey(areNot)]),
    left: [...are],
    choices: [...choices],
    isCut,
  }
}

/** False: there is no such value. */
function spread(open: Open, work: Work): boolean {
  for (let node = open.left.pop(); node !== undefined; node = open.left.pop()) {
    work.spend(1)
    if (node.schema === false) return false
    if (node.schema === true || open.nodes.has(keyOf(node))) continue
    open.nodes.set(keyOf(node), node)
    const reference = textAt(node, '$ref')
    const target = reference === undefined ? undefined : node.document.resolve(reference)
    if (target) open.left.push(target)
    for (const [, one] of childrenOf(node, 'allOf')) open.left.push(one)
    const refused = schemaAt(node, 'not')
    if (refused) open.nots.set(keyOf(refused), refused)
    const choices = choicesOf(node)
    for (const choice of choices) work.spend(choice.length)
    open.choices.push(...choices)
  }
  return true
}

function choicesOf(node: Node): Choice[][] {
  const found: Choice[][] = []
  const branches = (keyword: string): Node[] => childrenOf(node, keyword).map(([, one]) => one)
  const any = branches('anyOf')
  if (any.length > 0) found.push(any.map((one) => ({ are: [one] })))
  const one = branches('oneOf')
  if (one.length > 0)
    found.push(one.map((branch) => ({ are: [branch], areNot: one.filter((other) => other !== branch) })))
  const condition = conditionOf(node)
  if (condition) {
    const { when, holding, otherwise } = condition
    found.push([
      { are: holding ? [when, holding] : [when] },
      { are: otherwise ? [otherwise] : [], areNot: [when] },
    ])
  }
  for (const [trigger, needed] of dependentsOf(node)) {
    const present = standing({ type: 'object', required: [trigger] })
    const asked = Array.isArray(needed) ? standing({ required: needed as string[] }) : (needed as Node)
    const absent = standing({ properties: { [trigger]: false } })
    found.push([{ are: [present, asked] }, { are: [absent] }])
  }
  return found
}

/** A schema and all that it says in place, in whatever case: what may be asked of a value. */
export function spreadOf(nodes: readonly Node[], work: Work): Node[] {
  const found = new Map<string, Node>()
  const left = [...nodes]
  for (let node = left.pop(); node !== undefined; node = left.pop()) {
    work.spend(1)
    if (found.has(keyOf(node))) continue
    found.set(keyOf(node), node)
    const reference = textAt(node, '$ref')
    const target = reference === undefined ? undefined : node.document.resolve(reference)
    if (target) left.push(target)
    for (const keyword of ['allOf', 'anyOf', 'oneOf'])
      for (const [, one] of childrenOf(node, keyword)) left.push(one)
    for (const keyword of ['not', 'if', 'then', 'else']) {
      const one = schemaAt(node, keyword)
      if (one) left.push(one)
    }
    for (const [, needed] of dependentsOf(node)) if (!Array.isArray(needed)) left.push(needed as Node)
  }
  return [...found.values()]
}
