import { readFileSync } from 'node:fs'
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Document } from 'yaml'
import { messageOf, TidegateError } from '../errors.ts'

export type Tree = Record<string, unknown>

export interface YamlFile {
  tree: Tree
  /** The line, from 1, on which the key of a path stands; undefined if it does not stand in the file. */
  lineOf(path: readonly PropertyKey[]): number | undefined
}

const bytesMax = 1024 ** 2
/** A parser that recurses takes seconds, or its stack, for what nobody has written by hand. */
const nestingMax = 100

/** @throws TidegateError `CONFIG_UNREADABLE` */
export function readYamlFile(file: string): YamlFile {
  return parseYaml(textOf(file), file)
}

/** The text of a file of that name. @throws TidegateError `CONFIG_UNREADABLE` */
export function parseYaml(text: string, file: string): YamlFile {
  refuseSize(text, file)
  const counter = new LineCounter()
  const document = parseDocument(text, { prettyErrors: true, lineCounter: counter })
  const [fault] = document.errors
  if (fault) throw unreadable(`${file} is not valid YAML: ${firstLine(fault.message)}`)
  let value: unknown
  try {
    value = document.toJS() ?? {}
  } catch (cause) {
    // Aliases: unresolved, or more of them than a file needs.
    throw unreadable(`${file} is not valid YAML: ${firstLine(messageOf(cause))}`, cause)
  }
  if (!isTree(value)) throw unreadable(`${file} must hold a mapping of keys at its top`)
  return { tree: value, lineOf: (path) => lineOf(document, counter, path) }
}

/**
 * What an environment variable holds, read as YAML; a plain text as it stands, a `#` included.
 * @throws Error with the parser's words
 */
export function readYamlValue(text: string): unknown {
  refuseNesting(text)
  const document = parseDocument(text)
  const [fault] = document.errors
  if (fault) throw new Error(firstLine(fault.message))
  const { contents } = document
  if (isScalar(contents) && contents.type === 'PLAIN' && typeof contents.value === 'string')
    return text.trim()
  const said = document.comment ?? (isScalar(contents) ? contents.comment : undefined)
  return said === undefined || said === null ? (document.toJS() as unknown) : text.trim()
}

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new TidegateError('CONFIG_UNREADABLE', {
      message: `cannot read the configuration file ${file}`,
      retryable: false,
      hint: 'check the path given with --config and its permissions',
      cause,
    })
  }
}

function refuseSize(text: string, file: string): void {
  if (text.length > bytesMax) throw unreadable(`${file} is larger than a configuration of 1 MiB can be`)
  try {
    refuseNesting(text)
  } catch (cause) {
    throw unreadable(`${file} is not valid YAML: ${messageOf(cause)}`, cause)
  }
}

function refuseNesting(text: string): void {
  let depth = 0
  for (const letter of text) {
    if (letter === '[' || letter === '{') depth += 1
    else if (letter === ']' || letter === '}') depth = Math.max(0, depth - 1)
    if (depth > nestingMax) throw new Error(`lists and mappings are nested more than ${nestingMax} deep`)
  }
}

function lineOf(
  { contents }: Document.Parsed,
  counter: LineCounter,
  path: readonly PropertyKey[],
): number | undefined {
  let node: unknown = contents
  let offset: number | undefined
  for (const step of path) {
    if (isAlias(node)) return offset === undefined ? undefined : counter.linePos(offset).line
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
      if (!pair) return undefined
      offset = isScalar(pair.key) ? pair.key.range?.[0] : undefined
      node = pair.value
    } else if (isSeq(node)) {
      node = node.items[Number(step)]
      offset = isScalar(node) || isMap(node) || isSeq(node) ? node.range?.[0] : offset
    } else return undefined
  }
  return offset === undefined ? undefined : counter.linePos(offset).line
}

function firstLine(text: string): string {
  return text.split('\n')[0]?.replace(/:$/, '') ?? text
}

function unreadable(message: string, cause?: unknown): TidegateError {
  return new TidegateError('CONFIG_UNREADABLE', {
    message,
    retryable: false,
    hint: 'indent with spaces; quote values that contain : or #; config/*.example.yaml are complete examples',
    cause,
  })
}
