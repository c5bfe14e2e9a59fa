import { isDeepStrictEqual } from 'node:util'
import { TidegateError } from '../../src/errors.ts'

/** RFC 6902, on `data` alone: `/kpa` is `data.kpa`. */
export type JsonPatch = readonly JsonPatchOperation[]

export type JsonPatchOperation =
  | { op: 'add' | 'replace' | 'test'; path: string; value: unknown }
  | { op: 'remove'; path: string }
  | { op: 'move' | 'copy'; from: string; path: string }

/**
 * JSON Patch (RFC 6902) with JSON Pointers (RFC 6901). Of our own, because the libraries there are walk along what an object inherits:
 * with rfc6902 5.4.0 `add /toString/x` writes into Object.prototype. Here a member is one that the JSON text has.
 */

/** What a person writes, and what goes into the record of the deed (G7). */
const operationsMax = 100
const patchLengthMax = 32_768
/** Of what it makes of the data: `copy` doubles. */
const resultLengthMax = 262_144

/** Whether it is one at all, and within bounds. @throws TidegateError `EDIT_REFUSED` */
export function checkPatch(given: unknown): JsonPatch {
  if (!Array.isArray(given)) throw refused('the patch is not a list of operations')
  if (given.length > operationsMax) throw refused(`the patch has more than ${operationsMax} operations`)
  if (JSON.stringify(given).length > patchLengthMax)
    throw refused(`the patch is longer than ${patchLengthMax} characters`)
  given.forEach((operation: unknown, index) => {
    const fault = faultOf(operation)
    if (fault !== undefined) throw refused(`operation ${index}: ${fault}`)
  })
  return given as JsonPatch
}

/** The patched copy; `data` stays as it is. @throws TidegateError `EDIT_REFUSED` naming the operation that does not fit. */
export function applyPatch(data: unknown, patch: JsonPatch): unknown {
  // In a member, so that the whole, too, can be replaced.
  const root: Holder = { data: structuredClone(data) }
  patch.forEach((operation, index) => {
    try {
      apply(root, operation)
    } catch (error) {
      if (error instanceof Unfit) throw refused(`operation ${index} (${operation.op}): ${error.message}`)
      throw error
    }
    // Each copy can double it.
    if (JSON.stringify(root['data'] ?? null).length > resultLengthMax)
      throw refused(`operation ${index}: the data would be longer than ${resultLengthMax} characters`)
  })
  if (!Object.hasOwn(root, 'data')) throw refused('nothing is left of the data')
  return root['data']
}

type Holder = Record<string, unknown>

class Unfit extends Error {}

function faultOf(operation: unknown): string | undefined {
  if (typeof operation !== 'object' || operation === null) return 'is no object'
  const { op, path, from } = operation as Partial<Record<string, unknown>>
  if (typeof op !== 'string' || !/^(add|remove|replace|move|copy|test)$/.test(op))
    return 'op must be add, remove, replace, move, copy or test'
  if (!isPointer(path)) return 'path must be a JSON Pointer: empty, or /member/0/…'
  if (/^(add|replace|test)$/.test(op) && !Object.hasOwn(operation, 'value')) return 'value is required'
  if (/^(move|copy)$/.test(op) && !isPointer(from)) return 'from must be a JSON Pointer'
  if (op === 'move' && `${path}/`.startsWith(`${String(from)}/`) && path !== from)
    return 'nothing can be moved into itself'
  return undefined
}

function isPointer(text: unknown): text is string {
  return (
    typeof text === 'string' && /^(\/([^~]|~[01])*)?$/su.test(text) && !/(^|\/)__proto__(\/|$)/.test(text)
  )
}

function apply(root: Holder, operation: JsonPatchOperation): void {
  switch (operation.op) {
    case 'add':
      return add(root, operation.path, structuredClone(operation.value))
    case 'remove':
      remove(root, operation.path)
      return
    case 'replace': {
      const { parent, key } = existing(root, operation.path)
      put(parent, key, structuredClone(operation.value))
      return
    }
    case 'move': {
      if (operation.from === operation.path) return void existing(root, operation.path)
      return add(root, operation.path, remove(root, operation.from))
    }
    case 'copy': {
      const { parent, key } = existing(root, operation.from)
      return add(root, operation.path, structuredClone(valueIn(parent, key)))
    }
    case 'test': {
      const { parent, key } = existing(root, operation.path)
      if (!isDeepStrictEqual(valueIn(parent, key), operation.value))
        throw new Unfit(`${operation.path} has another value`)
    }
  }
}

interface Target {
  parent: Holder | unknown[]
  key: string
}

/** Where a pointer leads, as far as its last step: everything before that is there. */
function target(root: Holder, pointer: string): Target {
  const keys = ['data', ...pointer.split('/').slice(1).map(unescaped)]
  const key = keys.pop() as string
  let parent: unknown = root
  for (const step of keys) {
    if (!isHolder(parent) || !has(parent, step)) throw new Unfit(`${pointer} leads nowhere`)
    parent = valueIn(parent, step)
  }
  if (!isHolder(parent)) throw new Unfit(`${pointer} leads nowhere`)
  return { parent, key }
}

function existing(root: Holder, pointer: string): Target {
  const found = target(root, pointer)
  if (!has(found.parent, found.key)) throw new Unfit(`${pointer} is not there`)
  return found
}

function add(root: Holder, pointer: string, value: unknown): void {
  const { parent, key } = target(root, pointer)
  if (!Array.isArray(parent)) return put(parent, key, value)
  const index = key === '-' ? parent.length : indexOf(key)
  if (index === undefined || index > parent.length) throw new Unfit(`${pointer} is no place in the list`)
  parent.splice(index, 0, value)
}

function remove(root: Holder, pointer: string): unknown {
  const { parent, key } = existing(root, pointer)
  const value = valueIn(parent, key)
  if (Array.isArray(parent)) parent.splice(Number(key), 1)
  else delete parent[key]
  return value
}

function put(parent: Holder | unknown[], key: string, value: unknown): void {
  if (Array.isArray(parent)) parent[Number(key)] = value
  else parent[key] = value
}

function isHolder(value: unknown): value is Holder | unknown[] {
  return typeof value === 'object' && value !== null
}

/** Of its own: what it inherits is no member. */
function has(parent: Holder | unknown[], key: string): boolean {
  if (!Array.isArray(parent)) return Object.hasOwn(parent, key)
  const index = indexOf(key)
  return index !== undefined && index < parent.length
}

function valueIn(parent: Holder | unknown[], key: string): unknown {
  return Array.isArray(parent) ? parent[Number(key)] : parent[key]
}

function indexOf(key: string): number | undefined {
  return /^(0|[1-9][0-9]{0,8})$/.test(key) ? Number(key) : undefined
}

function unescaped(key: string): string {
  return key.replaceAll('~1', '/').replaceAll('~0', '~')
}

function refused(message: string): TidegateError {
  return new TidegateError('EDIT_REFUSED', {
    message,
    retryable: false,
    hint: 'a patch is RFC 6902 on data alone: /kpa is data.kpa; see docs/FAILURES.md, Edit',
  })
}
