import { TidegateError } from '../../../src/errors.ts'
import type { DemandedHead } from '../checkpoints.ts'
import type { DatabaseChoice } from '../../database-choice.ts'
import type { Expected } from './expected.ts'

export interface Options extends DatabaseChoice {
  gateway?: string
  settle?: number
  json?: boolean
  heads?: string
  against?: string
  trust?: string[]
  marks?: string
  key?: string
  full?: boolean
  forget?: string[]
  expect?: Expected[]
  duplicates?: boolean
}

/** What would not be looked at is not taken. @throws TidegateError `OPTIONS_INVALID` */
export function checkOptions(options: Options, expected: readonly DemandedHead[]): void {
  const { duplicates, gateway, marks, key, forget } = options
  const others = [
    'gateway',
    'settle',
    'heads',
    'against',
    'trust',
    'marks',
    'key',
    'full',
    'forget',
    'expect',
  ] as const
  const other = duplicates && others.find((name) => options[name] !== undefined)
  if (other) throw notTogether(`--duplicates looks for nothing else: no --${other}`)
  if (marks === undefined && (key !== undefined || forget !== undefined))
    throw notTogether('--key and --forget belong to --marks')
  if (marks !== undefined && key === undefined)
    throw notTogether('--marks needs --key: tidegate audit key FILE makes one')
  const aside = expected.find((head) => gateway !== undefined && head.gateway !== gateway)
  if (aside)
    throw notTogether(`--expect demands a head of ${aside.gateway}, and --gateway ${gateway} leaves it out`)
}

export function notTogether(message: string): TidegateError {
  return new TidegateError('OPTIONS_INVALID', {
    message,
    retryable: false,
    hint: 'see tidegate audit --help',
  })
}
