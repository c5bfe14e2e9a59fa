import { randomUUID } from 'node:crypto'
import { type Command, Option } from 'commander'
import { explain, TidegateError } from '../../src/errors.ts'
import { visible, visibleJson } from '../../src/visible.ts'
import { type Client, createClient, RefusedByApi, type Writing } from './client.ts'
import { keyOf } from './readers.ts'
import { askingForApi, type TargetChoice, targetOf } from './target.ts'

export interface Asking extends TargetChoice {
  json?: boolean
}

/** What every command that changes something takes. */
export interface Changing extends Asking {
  reason?: string
  dryRun?: boolean
  key?: string
}

/** 0: done; 1: not all is well; 2: not understood; 3: refused. */
export const exitCodes = { notWell: 1, notUnderstood: 2, refused: 3 } as const

/** A command that asks the API. */
export function asking(command: Command): Command {
  return askingForApi(command)
}

/** A command that changes something by the API. */
export function changing(command: Command): Command {
  return asking(command)
    .option('--reason <text>', 'why; it is on record')
    .option('--dry-run', 'look, say what would be done, and do nothing')
    .addOption(
      new Option('--key <uuid>', 'of a deed whose answer was lost: it is done once').argParser(keyOf),
    )
}

/** Does something by the API; what it refuses ends the program with 3. */
export async function withApi(choice: TargetChoice, work: (client: Client) => Promise<void>): Promise<void> {
  try {
    await work(createClient(targetOf(choice, process.env)))
  } catch (error) {
    const isRefused = error instanceof RefusedByApi && error.status < 500
    const isNotUnderstood = error instanceof TidegateError && error.code === 'OPTIONS_INVALID'
    if (!isRefused && !isNotUnderstood) throw error
    complain(explain(error))
    process.exitCode = isRefused ? exitCodes.refused : exitCodes.notUnderstood
  }
}

/**
 * The key of a deed, told before it is done: with it the same deed can be asked for again. The same is one with the same times, so that they
 * are told as they were understood: `--since 2h` is another time later.
 */
export function keyFor({
  key = randomUUID(),
  since,
  from,
  until,
  dryRun,
}: Changing & { since?: string; from?: string; until?: string }): Writing & { key: string } {
  const times = Object.entries({ since, from, until }).filter(([, time]) => time !== undefined)
  if (!dryRun)
    complain(
      ['the same again:', `--key ${key}`, ...times.map(([name, time]) => `--${name} ${time}`)].join(' '),
    )
  return { key }
}

/** Of a dry run too: what is not done needs no reason. */
export function reasonOrNone(options: Changing): string {
  return options.dryRun ? (options.reason ?? 'dry run') : reasonOf(options)
}

/** @throws TidegateError `OPTIONS_INVALID` */
export function reasonOf({ reason }: Changing): string {
  if (reason !== undefined && reason.trim() !== '') return reason
  throw new TidegateError('OPTIONS_INVALID', {
    message: 'this changes something, and needs a reason',
    retryable: false,
    hint: '--reason "why": it is on record, with who and when',
  })
}

export function say(text: string): void {
  process.stdout.write(`${visible(text)}\n`)
}

export function sayJson(value: unknown): void {
  process.stdout.write(`${visibleJson(value)}\n`)
}

/** On standard error: what a command prints is for programs too. */
export function complain(text: string): void {
  process.stderr.write(`${visible(text)}\n`)
}
