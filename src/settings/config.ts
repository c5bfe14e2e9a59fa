import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { TidegateError } from '../errors.ts'
import { applyEnvironment, type Environment } from './environment.ts'
import { faultsOf } from './faults.ts'
import { knownKeys } from './known-keys.ts'
import { readYamlFile } from './yaml-file.ts'
import { wordsFor } from './words.ts'

export type { Environment }

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
 * @throws TidegateError `CONFIG_UNREADABLE` | `CONFIG_INVALID`: every fault at once, each with its path, what is wanted, and the
 * line of the file or the variable it stands in
 */
export function loadConfig<S extends z.ZodType>(options: LoadConfigOptions<S>): z.output<S> {
  const { schema, prefix, env } = options
  const read = options.file === undefined ? undefined : readYamlFile(options.file)
  const tree = read?.tree ?? {}
  const known = knownKeys(schema)
  const { origins, faults: ofEnvironment } = applyEnvironment(tree, { prefix, env, known })
  const result = schema.safeParse(tree, { error: wordsFor })
  const ofValues = result.success ? [] : faultsOf(result.error.issues, { tree, known })
  if (result.success && ofEnvironment.length === 0) return result.data
  const lines = ofValues.map(({ path, text }) => {
    const variable = origins.get(JSON.stringify(path))
    const line = variable === undefined ? read?.lineOf(path) : undefined
    const place = variable ?? (line === undefined ? undefined : `line ${line}`)
    return `${pathText(path) || '(top)'}: ${text}${place === undefined ? '' : ` (${place})`}`
  })
  const all = [...ofEnvironment, ...lines].map((line) => `  ${line}`)
  throw new TidegateError('CONFIG_INVALID', {
    message: `${options.file ?? 'the configuration'} has ${all.length} ${all.length === 1 ? 'fault' : 'faults'}:\n${all.join('\n')}`,
    retryable: false,
    hint:
      options.file === undefined
        ? 'name a file with --config; config/*.example.yaml are complete examples, docs/CONFIGURATION.md lists every key'
        : 'docs/CONFIGURATION.md lists every key; config/*.example.yaml are complete examples',
  })
}

/** Paths in a config file are relative to the file. */
export function configFolder(file: string | undefined): string {
  return file === undefined ? process.cwd() : dirname(resolve(file))
}

/** `routes[0].topic` */
function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, step) =>
      typeof step === 'number' ? `${text}[${step}]` : text === '' ? String(step) : `${text}.${String(step)}`,
    '',
  )
}
