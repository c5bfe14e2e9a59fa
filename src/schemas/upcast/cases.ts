import { isDeepStrictEqual } from 'node:util'
import { messageOf } from '../../errors.ts'
import { isTree } from '../../settings/yaml-file.ts'
import type { Upcast } from './chain.ts'

/** What an upcast makes of what. */
export interface Case {
  name?: string
  from: unknown
  to: unknown
}

const keys = ['name', 'from', 'to']

/** Reads a file of cases: a list of `{ name?, from, to }`, one at least. */
export function parseCases(text: string): { cases: readonly Case[]; faults: readonly string[] } {
  let given: unknown
  try {
    given = JSON.parse(text)
  } catch (error) {
    return { cases: [], faults: [`is not JSON: ${messageOf(error)}`] }
  }
  if (!Array.isArray(given) || given.length === 0)
    return { cases: [], faults: ['must be a list of at least one case, each { "from": …, "to": … }'] }
  const faults = given.flatMap((each: unknown, index) => {
    if (!isTree(each)) return [`case ${index + 1}: must be { "from": …, "to": … }`]
    const unknown = Object.keys(each).filter((key) => !keys.includes(key))
    const missing = ['from', 'to'].filter((key) => !Object.hasOwn(each, key))
    return [
      ...unknown.map((key) => `case ${index + 1}: ${key} is no key here; there are ${keys.join(', ')}`),
      ...missing.map((key) => `case ${index + 1}: ${key} is required`),
      ...(each['name'] !== undefined && typeof each['name'] !== 'string'
        ? [`case ${index + 1}: name must be text`]
        : []),
    ]
  })
  return faults.length > 0 ? { cases: [], faults } : { cases: given as Case[], faults: [] }
}

/** What an upcast does otherwise than a case says; each end is to be valid in its version, and two runs are to end alike. */
export function caseFaults(
  { from, to }: Case,
  upcast: Pick<Upcast, 'from' | 'to' | 'apply'>,
  valid: { before: (data: unknown) => readonly string[]; after: (data: unknown) => readonly string[] },
): string[] {
  const faults = [
    ...valid.before(from).map((fault) => `from is no version ${upcast.from}: ${fault}`),
    ...valid.after(to).map((fault) => `to is no version ${upcast.to}: ${fault}`),
  ]
  try {
    const results = [upcast.apply(from), upcast.apply(from)]
    if (!isDeepStrictEqual(results[0], results[1])) faults.push('two runs on the same data differ')
    else if (!isDeepStrictEqual(results[0], to)) faults.push(`it makes ${shown(results[0])} of it`)
  } catch (error) {
    faults.push(`it throws: ${messageOf(error)}`)
  }
  return faults
}

const shownMax = 300

function shown(value: unknown): string {
  const text = JSON.stringify(value)
  return text.length > shownMax ? `${text.slice(0, shownMax)}…` : text
}
