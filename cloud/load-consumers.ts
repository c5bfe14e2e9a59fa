import { TidegateError } from '../src/errors.ts'
import { importDefault, inFile, type ModuleKind } from './load-module.ts'
import { type Consumer, defineConsumer, type SingleConsumerOptions } from './pipeline/consumer.ts'
import { configured, type ConfiguredConsumer, type ConsumerDefaults } from './pipeline/definition.ts'
import { optionsOf } from './pipeline/handlers/made.ts'
import { historyConsumer } from './history/consumer.ts'
import { type HistoryOptions, postgresHistory } from './history/history-postgres.ts'

export interface ConsumersOptions {
  /** Which, in this order: one that is built in, or a module of the user's. */
  consumers: readonly (keyof typeof builtIn | { module: string })[]
  defaults: ConsumerDefaults
  history?: HistoryOptions
}

const builtIn = {
  history: (options?: HistoryOptions) =>
    historyConsumer((transaction) => postgresHistory(transaction, options)),
} as const

const consumerModule: ModuleKind = {
  code: 'CONSUMER_MODULE',
  what: 'consumer',
  pathHint:
    'consumers[].module is the path of a JavaScript or TypeScript module, relative to the configuration file',
  exportHint: 'export default { group, types, handle }; see docs/CONSUMERS.md',
}

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

/** Was built in, until it was a projection: its queues are let go, and are nobody else's. */
const formerGroup = 'rollups'

async function loadModule(file: string): Promise<Consumer> {
  const found = await importDefault(file, consumerModule)
  return inFile(file, () => {
    const consumer = consumerOf(found)
    if (consumer.group !== formerGroup) return consumer
    throw new TidegateError('CONSUMER_INVALID', {
      message: `a group cannot be called ${formerGroup}: that was built in, and its queues are let go by this version`,
      retryable: false,
      hint: 'give it another name; docs/OPERATIONS.md, Upgrade, says what becomes of its queues',
    })
  })
}

/**
 * Made anew of its options, where a package beside the module has made it: that may be of another version than this. What somebody has
 * changed since, as with a handler in a wrapper of their own, is taken as it is.
 */
function consumerOf(found: object): Consumer {
  if (!isConsumer(found)) return defineConsumer(found as SingleConsumerOptions)
  const options = optionsOf(found)
  if (options !== undefined) return defineConsumer(options as SingleConsumerOptions)
  // One that a former version has made knows of no versions of events.
  return 'wantedVersion' in found ? found : { ...(found as Consumer), wantedVersion: () => undefined }
}

function isConsumer(value: object): value is Consumer {
  return 'handler' in value && 'wants' in value
}
