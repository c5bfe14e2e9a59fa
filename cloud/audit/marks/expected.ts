import { InvalidArgumentError } from 'commander'
import { messageOf, TidegateError } from '../../../src/errors.ts'
import type { DemandedHead } from '../checkpoints.ts'

/** A head that was saved elsewhere, or a file with one in each line. */
export type Expected = DemandedHead | { file: string }

const form = 'GATEWAY=EPOCH/SEQUENCE:CHAIN, as the audit prints it behind “head”'

/** `--expect`: given again, or with several, they add up. */
export function expectedOf(text: string, before: Expected[] = []): Expected[] {
  const one = text.startsWith('@') ? { file: text.slice(1) } : headOf(text)
  if (one === undefined) throw new InvalidArgumentError(`It must be ${form}, or @FILE with such lines.`)
  return [...before, one]
}

/** `--forget`: ledgers as the audit and `accept` name them. */
export function ledgersOf(text: string, before: string[] = []): string[] {
  if (!/^[^/]+\/[^/]+$/.test(text)) throw new InvalidArgumentError('It must be GATEWAY/EPOCH.')
  return [...before, text]
}

/** @throws TidegateError `HEADS_FILE` */
export async function readExpected(expected: readonly Expected[]): Promise<DemandedHead[]> {
  const heads: DemandedHead[] = []
  for (const one of expected) heads.push(...('file' in one ? await readLines(one.file) : [one]))
  return heads
}

async function readLines(file: string): Promise<DemandedHead[]> {
  const hint = `each line is ${form}; a file of --heads belongs to --against`
  const { readFile } = await import('node:fs/promises')
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    throw unusable(file, messageOf(cause), hint, cause)
  }
  // As they are printed, word before them included.
  const lines = text.split('\n').map((line) => line.trim().replace(/^head\s+/, ''))
  const heads = lines
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => headOf(line) ?? line)
  const wrong = heads.find((head) => typeof head === 'string')
  if (wrong !== undefined) throw unusable(file, `“${wrong.slice(0, 80)}” is no head`, hint)
  if (heads.length === 0) throw unusable(file, 'there is no head in it', hint)
  return heads.filter((head) => typeof head !== 'string')
}

function headOf(text: string): DemandedHead | undefined {
  const parts = /^(.+)=([^/=:]+)\/(\d{1,15}):([A-Za-z0-9_-]{43})$/.exec(text)
  if (parts === null) return undefined
  const [, gateway = '', epoch = '', sequence, chain = ''] = parts
  return Number(sequence) === 0 ? undefined : { gateway, epoch, sequence: Number(sequence), chain }
}

function unusable(file: string, why: string, hint: string, cause?: unknown): TidegateError {
  return new TidegateError('HEADS_FILE', {
    message: `the heads in ${file} cannot be read: ${why.split('\n')[0] ?? ''}`,
    retryable: false,
    hint,
    cause,
  })
}
