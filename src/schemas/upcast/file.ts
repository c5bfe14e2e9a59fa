import { parseDocument } from 'yaml'
import { messageOf } from '../../errors.ts'
import { didYouMean } from '../../settings/nearest.ts'
import { isTree, type Tree } from '../../settings/yaml-file.ts'
import { isText, isWithin, type MemberPath, nameFault, parsePointer } from './pointer.ts'
import type { Step } from './steps.ts'

const fileLengthMax = 65_536
const stepsMax = 100
const valueLengthMax = 4096
/** Beyond it a step and its way back are no longer the same number. */
const factorMax = 1e100

/** Everything that is wrong with a declarative upcast, or its steps. */
export type ParsedUpcast = { steps: readonly Step[]; faults: readonly [] } | { faults: readonly string[] }

/**
 * Reads what a file such as `upcast/1-2.yaml` holds: a list of steps, each a mapping of one of `rename`, `move`, `default`, `drop`, `unit`, in the
 * order in which they are taken.
 */
export function parseUpcast(text: string): ParsedUpcast {
  if (text.length > fileLengthMax) return { faults: [`is longer than ${fileLengthMax} characters`] }
  let given: unknown
  try {
    const document = parseDocument(text)
    const [fault] = document.errors
    if (fault) return { faults: [`is not valid YAML: ${firstLine(fault.message)}`] }
    given = document.toJS({ maxAliasCount: 0 }) ?? []
  } catch (error) {
    return { faults: [`is not valid YAML: ${firstLine(messageOf(error))}`] }
  }
  if (!Array.isArray(given)) return { faults: ['must be a list of steps'] }
  if (given.length > stepsMax) return { faults: [`has more than ${stepsMax} steps`] }
  const read = given.map(readStep)
  const faults = read.flatMap(({ faults }, index) => faults.map((fault) => `step ${index + 1}: ${fault}`))
  return faults.length > 0 ? { faults } : { steps: read.flatMap(({ step }) => step ?? []), faults: [] }
}

interface ReadStep {
  step?: Step
  faults: string[]
}

type Keys = Readonly<Record<string, 'needed' | 'optional'>>

const keysOf: Readonly<Record<string, Keys>> = {
  rename: { path: 'needed', to: 'needed' },
  move: { from: 'needed', to: 'needed' },
  default: { path: 'needed', value: 'needed' },
  drop: {},
  unit: { path: 'needed', scale: 'optional', offset: 'optional' },
}
const kinds = Object.keys(keysOf)

function readStep(given: unknown): ReadStep {
  const names = isTree(given) ? Object.keys(given) : []
  const [kind] = names
  if (!isTree(given) || kind === undefined || names.length > 1)
    return { faults: [`must be one of ${kinds.join(', ')}, each as a list entry of its own`] }
  const keys = keysOf[kind]
  if (keys === undefined)
    return { faults: [`${kind} is no step${didYouMean(kind, kinds)}; there are ${kinds.join(', ')}`] }
  const inner = given[kind]
  if (kind === 'drop') return withPaths({ '': inner }, [''], ([path]) => ({ kind, path }), kind)
  if (!isTree(inner)) return { faults: [`${kind} must be a mapping of ${Object.keys(keys).join(', ')}`] }
  const shape = shapeFaults(kind, inner, keys)
  return shape.length > 0 ? { faults: shape } : readers[kind as keyof typeof readers](inner)
}

function shapeFaults(kind: string, inner: Tree, keys: Keys): string[] {
  const known = Object.keys(keys)
  return [
    ...Object.keys(inner)
      .filter((key) => !known.includes(key))
      .map((key) => `${kind}.${key} is no key here${didYouMean(key, known)}`),
    ...known
      .filter((key) => keys[key] === 'needed' && !Object.hasOwn(inner, key))
      .map((key) => `${kind}.${key} is required`),
  ]
}

const readers = {
  rename(inner: Tree): ReadStep {
    const fault = nameFault(inner['to'])
    const read = withPaths(inner, ['path'], ([from]) => renamed(from, String(inner['to'])), 'rename')
    return fault === undefined ? read : { faults: [...read.faults, `rename.to ${fault}`] }
  },
  move: (inner: Tree): ReadStep =>
    withPaths(
      inner,
      ['from', 'to'],
      ([from, to]) =>
        isWithin(from, to) ? 'move: one of the two places is within the other' : { kind: 'move', from, to },
      'move',
    ),
  default(inner: Tree): ReadStep {
    const { value } = inner
    const fault = valueFault(value)
    const read = withPaths(inner, ['path'], ([path]) => ({ kind: 'default', path, value }), 'default')
    return fault === undefined ? read : { faults: [...read.faults, `default.value ${fault}`] }
  },
  unit(inner: Tree): ReadStep {
    const scale = factorOf(inner['scale'] ?? 1)
    const offset = factorOf(inner['offset'] ?? 0)
    const faults = [
      ...(scale === undefined || scale === 0
        ? ['unit.scale must be a number other than 0, such as 0.1 or 5/9']
        : []),
      ...(offset === undefined ? ['unit.offset must be a number, such as -32'] : []),
      ...(scale === 1 && offset === 0 ? ['unit changes nothing: give it a scale or an offset'] : []),
    ]
    const read = withPaths(
      inner,
      ['path'],
      ([path]) => ({ kind: 'unit', path, scale: scale as number, offset: offset as number }),
      'unit',
    )
    return faults.length === 0 ? read : { faults: [...read.faults, ...faults] }
  },
}

function renamed(from: MemberPath, to: string): Step | string {
  const target = [...from.slice(0, -1), to] as unknown as MemberPath
  return from.at(-1) === to
    ? 'rename gives a member the name that it has'
    : { kind: 'move', from, to: target }
}

function withPaths(
  inner: Tree,
  keys: readonly string[],
  make: (paths: readonly [MemberPath, MemberPath]) => Step | string,
  kind: string,
): ReadStep {
  const paths = keys.map((key) => parsePointer(inner[key]))
  const faults = paths.flatMap((path, index) =>
    typeof path === 'string' ? [`${kind}${keys[index] === '' ? '' : `.${keys[index]}`} ${path}`] : [],
  )
  if (faults.length > 0) return { faults }
  const made = make(paths as unknown as readonly [MemberPath, MemberPath])
  return typeof made === 'string' ? { faults: [made] } : { step: made, faults: [] }
}

/** A number, or the quotient of two as text: `5/9` has no end in digits. */
function factorOf(given: unknown): number | undefined {
  const quotient =
    typeof given === 'string' ? /^(-?\d+(?:\.\d+)?)\/(\d+(?:\.\d+)?)$/.exec(given.replaceAll(' ', '')) : null
  const value = quotient ? Number(quotient[1]) / Number(quotient[2]) : given
  if (typeof value !== 'number' || !Number.isFinite(value)) return undefined
  const magnitude = Math.abs(value)
  // Without the zero that has a sign.
  return magnitude === 0 ? 0 : magnitude <= factorMax && magnitude >= 1 / factorMax ? value : undefined
}

function valueFault(value: unknown): string | undefined {
  const text = JSON.stringify(value)
  if (text.length > valueLengthMax) return `is longer than ${valueLengthMax} characters`
  return isStorable(value) ? undefined : 'must be JSON that PostgreSQL can keep'
}

function isStorable(value: unknown): boolean {
  if (typeof value === 'string') return isText(value)
  if (typeof value === 'number') return Number.isFinite(value)
  if (Array.isArray(value)) return value.every(isStorable)
  if (isTree(value))
    return Object.entries(value).every(([name, each]) => nameFault(name) === undefined && isStorable(each))
  return value === null || typeof value === 'boolean'
}

function firstLine(text: string): string {
  return (text.split('\n')[0] ?? text).replace(/:$/, '')
}
