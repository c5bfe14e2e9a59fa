import { type Command, InvalidArgumentError, Option } from 'commander'
import { wholeNumber } from '../../src/settings/command-line.ts'
import { fingerprintOf, groupOf, momentOf } from './readers.ts'

/** Which letters, as options. */
export interface FilterOptions {
  group?: string
  code?: string
  cause?: string
  device?: string
  type?: string
  since?: string
  until?: string
}

export function filtering(command: Command): Command {
  return command
    .addOption(new Option('--group <name>', 'of this consumer group').argParser(groupOf))
    .option('--code <name>', 'of this error code')
    .addOption(new Option('--cause <fingerprint>', 'of this failure group').argParser(fingerprintOf))
    .option('--device <id>', 'of this device')
    .option('--type <type>', 'of this event type')
    .addOption(
      new Option('--since <time>', 'failed last at or after: RFC 3339, or how long ago, 2h').argParser(
        momentOf,
      ),
    )
    .addOption(new Option('--until <time>', 'failed last before that').argParser(momentOf))
}

/** As the API takes it. */
export function filterIn(
  { group, code, cause: fingerprint, device, type, since, until }: FilterOptions,
  letter?: number,
): Record<string, string | number> {
  const conditions = Object.entries({ group, code, fingerprint, device, type, since, until, letter })
  return Object.fromEntries(
    conditions.filter((one): one is [string, string | number] => one[1] !== undefined),
  )
}

export function letterOf(text: string): number {
  return wholeNumber({ max: 9_007_199_254_740_991 })(text)
}

/** A page has 500 at the most: more is asked for page by page. */
export function limitOf(text: string): number {
  const limit = wholeNumber({ max: 10_000 })(text)
  if (limit > 0) return limit
  throw new InvalidArgumentError('It must be at least 1.')
}
