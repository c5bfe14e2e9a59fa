import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parseDocument } from 'yaml'
import type { z } from 'zod'
import { TidegateError } from './errors.ts'

export type Environment = Readonly<Record<string, string | undefined>>

export interface LoadConfigOptions<S extends z.ZodType> {
  schema: S
  /** YAML file; absent: defaults and environment only. */
  file?: string | undefined
  /** `TIDEGATE_EDGE`: then `TIDEGATE_EDGE__MQTT__PORT=8884` sets `mqtt.port`. */
  prefix: string
  env: Environment
}

/**
 * A validated configuration: defaults < YAML file < environment. Environment values are read as YAML, so
 * numbers, booleans and lists work. Segments match keys whatever their case.
 * @throws TidegateError `CONFIG_UNREADABLE` | `CONFIG_INVALID`: every fault at once, by path.
 */
export function loadConfig<S extends z.ZodType>(options: LoadConfigOptions<S>): z.output<S> {
  const where = options.file ?? 'configuration'
  const document = options.file === undefined ? {} : readYaml(options.file)
  applyEnvironment(document, options.prefix, options.env)
  const result = options.schema.safeParse(document)
  if (result.success) return result.data
  const faults = result.error.issues.map(
    ({ path, message }) =>
      `  ${path.join('.') || '(top)'}: ${message.endsWith('received undefined') ? 'is required' : message}`,
  )
  throw new TidegateError('CONFIG_INVALID', {
    message: `${where} has ${faults.length} ${faults.length === 1 ? 'fault' : 'faults'}:\n${faults.join('\n')}`,
    retryable: false,
    hint: 'docs/CONFIGURATION.md lists every key; config/*.example.yaml are complete examples',
  })
}

/** Paths in a config file are relative to the file. */
export function configFolder(file: string | undefined): string {
  return file === undefined ? process.cwd() : dirname(resolve(file))
}

type Tree = Record<string, unknown>

function readYaml(file: string): Tree {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new TidegateError('CONFIG_UNREADABLE', {
      message: `cannot read the configuration file ${file}`,
      retryable: false,
      hint: 'check the path given with --config and its permissions',
      cause,
    })
  }
  const document = parseDocument(text, { prettyErrors: true })
  const [fault] = document.errors
  if (fault) {
    throw new TidegateError('CONFIG_UNREADABLE', {
      message: `${file} is not valid YAML: ${fault.message.split('\n')[0]}`,
      retryable: false,
      hint: 'indent with spaces; quote values that contain : or #',
    })
  }
  const value: unknown = document.toJS() ?? {}
  if (!isTree(value)) {
    throw new TidegateError('CONFIG_UNREADABLE', {
      message: `${file} must hold a mapping of keys at its top`,
      retryable: false,
      hint: 'see config/*.example.yaml',
    })
  }
  return value
}

function applyEnvironment(tree: Tree, prefix: string, env: Environment): void {
  for (const [name, raw] of Object.entries(env)) {
    if (raw === undefined || !name.startsWith(`${prefix}__`)) continue
    const segments = name.slice(prefix.length + 2).split('__')
    let node = tree
    segments.forEach((segment, index) => {
      const wanted = segment.replaceAll('_', '').toLowerCase()
      const key = Object.keys(node).find((key) => key.toLowerCase() === wanted) ?? camel(segment)
      if (index === segments.length - 1) {
        node[key] = parseDocument(raw).toJS() as unknown
        return
      }
      const child = node[key]
      const branch: Tree = isTree(child) ? child : {}
      node[key] = branch
      node = branch
    })
  }
}

/** `DATA_DIR` → `dataDir` */
function camel(segment: string): string {
  return segment.toLowerCase().replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
