import type { MemberPath } from './pointer.ts'

/**
 * One step of a declarative upcast. Steps are total: each says what it does with any JSON at all, so that the same steps as SQL
 * (sql.ts) give the same, row by row. A path leads through objects alone; where one is missing on the way, or is something else, the
 * step does nothing, and so it does where its target is there already: nothing a device said is overwritten. Whether the
 * result is good is what the check against the target version says.
 */
export type Step =
  /** Another name within the same object; a move like any other. */
  | { kind: 'move'; from: MemberPath; to: MemberPath }
  /** A member that is absent; `null` is there. Its object has to be there. */
  | { kind: 'default'; path: MemberPath; value: unknown }
  | { kind: 'drop'; path: MemberPath }
  /** `value * scale + offset` in 64-bit floating point. What is no number stays. */
  | { kind: 'unit'; path: MemberPath; scale: number; offset: number }

/**
 * Numbers of which no unit is another: beyond what 64-bit floating point holds after a step, where PostgreSQL ends a query and JavaScript
 * says Infinity. They stay as they are.
 */
export const magnitudeMin = 1e-150
export const magnitudeMax = 1e150

/** The data brought forward; `data` itself stays as it is. */
export function applySteps(data: unknown, steps: readonly Step[]): unknown {
  if (!isObject(data)) return data
  const copy = structuredClone(data)
  for (const step of steps) apply(copy, step)
  return copy
}

type Members = Record<string, unknown>

function apply(root: Members, step: Step): void {
  if (step.kind === 'move') return move(root, step.from, step.to)
  const parent = holderOf(root, step.path)
  const name = step.path.at(-1) as string
  if (parent === undefined) return
  if (step.kind === 'drop') delete parent[name]
  else if (step.kind === 'default') {
    if (!Object.hasOwn(parent, name)) parent[name] = structuredClone(step.value)
  } else if (Object.hasOwn(parent, name) && isConvertible(parent[name]))
    parent[name] = parent[name] * step.scale + step.offset
}

/** Objects that are missing on the way to the target are made. */
function move(root: Members, from: MemberPath, to: MemberPath): void {
  const parent = holderOf(root, from)
  const name = from.at(-1) as string
  if (parent === undefined || !Object.hasOwn(parent, name) || !isFree(root, to)) return
  const value = parent[name]
  delete parent[name]
  let holder = root
  for (const each of to.slice(0, -1)) {
    if (!Object.hasOwn(holder, each)) holder[each] = {}
    holder = holder[each] as Members
  }
  holder[to.at(-1) as string] = value
}

/** The object that has, or would have, the member; undefined: there is none. */
function holderOf(root: Members, path: MemberPath): Members | undefined {
  let holder = root
  for (const name of path.slice(0, -1)) {
    const next = Object.hasOwn(holder, name) ? holder[name] : undefined
    if (!isObject(next)) return undefined
    holder = next
  }
  return holder
}

/** Whether nothing is where the member is to be, and nothing but objects on the way. */
function isFree(root: Members, path: MemberPath): boolean {
  let holder: unknown = root
  for (const name of path) {
    if (!isObject(holder)) return false
    if (!Object.hasOwn(holder, name)) return true
    holder = holder[name]
  }
  return false
}

function isConvertible(value: unknown): value is number {
  if (typeof value !== 'number') return false
  const magnitude = Math.abs(value)
  return magnitude === 0 || (magnitude >= magnitudeMin && magnitude <= magnitudeMax)
}

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
