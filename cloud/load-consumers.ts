import { spawnSync } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import { messageOf, TidegateError } from '../src/errors.ts'
import { type Consumer, defineConsumer, type SingleConsumerOptions } from './pipeline/consumer.ts'
import { configured, type ConfiguredConsumer, type ConsumerDefaults } from './pipeline/definition.ts'
import { historyConsumer } from './history/consumer.ts'
import { type HistoryOptions, postgresHistory } from './history/history-postgres.ts'
import { rollupsConsumer } from './projections/rollups.ts'
import { postgresRollups } from './projections/rollups-postgres.ts'

export interface ConsumersOptions {
  /** Which, in this order: one that is built in, or a module of the user's. */
  consumers: readonly (keyof typeof builtIn | { module: string })[]
  defaults: ConsumerDefaults
  history?: HistoryOptions
}

const builtIn = {
  history: (options?: HistoryOptions) =>
    historyConsumer((transaction) => postgresHistory(transaction, options)),
  rollups: () => rollupsConsumer(postgresRollups),
} as const

/**
 * The configured consumers. A module's default export is what `defineConsumer` returned, or its options.
 * @throws TidegateError `CONSUMER_MODULE` | `CONSUMER_INVALID`
 */
export async function loadConsumers(options: ConsumersOptions): Promise<ConfiguredConsumer[]> {
  const consumers: ConfiguredConsumer[] = []
  for (const entry of options.consumers) {
    const consumer =
      typeof entry === 'string' ? builtIn[entry](options.history) : await loadModule(entry.module)
    consumers.push(configured(consumer, options.defaults))
  }
  const groups = consumers.map((consumer) => consumer.group)
  const twice = groups.find((group, index) => groups.indexOf(group) !== index)
  if (twice !== undefined) {
    throw new TidegateError('CONSUMER_INVALID', {
      message: `two consumers have the group ${twice}`,
      retryable: false,
      hint: 'a group names the queues of one consumer; rename one of them',
    })
  }
  return consumers
}

async function loadModule(file: string): Promise<Consumer> {
  let loaded: { default?: unknown }
  try {
    loaded = (await import(pathToFileURL(file).href)) as { default?: unknown }
  } catch (cause) {
    throw new TidegateError('CONSUMER_MODULE', {
      message: `cannot load the consumer ${file}: ${placeIn(file, cause)}${messageOf(cause)}`,
      retryable: false,
      hint: 'consumers[].module is the path of a JavaScript module, relative to the configuration file',
      cause,
    })
  }
  const consumer = loaded.default
  if (isConsumer(consumer)) return consumer
  if (typeof consumer !== 'object' || consumer === null) throw withoutConsumer(file, loaded)
  try {
    return defineConsumer(consumer as SingleConsumerOptions)
  } catch (error) {
    throw error instanceof TidegateError ? inFile(file, error) : error
  }
}

function withoutConsumer(file: string, loaded: object): TidegateError {
  const names = Object.keys(loaded)
  const instead = names.length === 0 ? '' : `; it exports ${names.join(', ')}`
  return new TidegateError('CONSUMER_MODULE', {
    message: `${file} default-exports no consumer${instead}`,
    retryable: false,
    hint: 'export default { group, types, handle }; see docs/CONSUMERS.md',
  })
}

function inFile(file: string, { code, message, retryable, hint }: TidegateError): TidegateError {
  return new TidegateError(code, { message: `${file}: ${message}`, retryable, hint })
}

/** Where in it something is wrong, as far as that can be known: the line of what it throws, or of what Node cannot read. */
function placeIn(file: string, error: unknown): string {
  const said = error instanceof SyntaxError ? checkedByNode(file) : stackOf(error)
  const places = [file, pathToFileURL(file).href]
  const line = said
    .split('\n')
    .map((text) => /^(?:.*[( ])?(\S+?):(\d+)(?::\d+)?\)?$/.exec(text.trim()))
    .find((match) => match !== null && places.includes(match[1] as string))?.[2]
  return line === undefined ? '' : `line ${line}: `
}

function stackOf(error: unknown): string {
  return error instanceof Error ? String(error.stack) : ''
}

/** Of a module that it cannot read Node tells the line only to whoever runs it. */
function checkedByNode(file: string): string {
  return spawnSync(process.execPath, ['--check', file], { encoding: 'utf8', timeout: 5_000 }).stderr ?? ''
}

function isConsumer(value: unknown): value is Consumer {
  return typeof value === 'object' && value !== null && 'handler' in value && 'wants' in value
}
