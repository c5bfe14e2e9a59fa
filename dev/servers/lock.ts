import { randomBytes } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TidegateError } from '../../src/errors.ts'
import { statOf } from './stat.ts'

export interface Lock {
  /** Idempotent. */
  release(): void
}

interface Holder {
  pid: number
  /** The process's start, in clock ticks since boot: the same pid with another start is another process. */
  startTicks: string
}

/**
 * Makes this process the only one to use `folder`, until it releases it or dies.
 * @throws TidegateError `ALREADY_RUNNING` while a live process holds it.
 */
export function lockFolder(folder: string, owner: Holder = holderOf(process.pid)): Lock {
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'lock')
  const mine = `${file}.${randomBytes(6).toString('hex')}`
  writeFileSync(mine, JSON.stringify(owner))
  try {
    while (!tryLink(mine, file)) {
      const found = read(file)
      if (found === undefined) continue
      const holder = parse(found)
      if (holder && isAlive(holder)) throw alreadyRunning(folder, holder)
      takeAway(file, found)
    }
  } finally {
    rmSync(mine, { force: true })
  }
  let held = true
  return {
    release() {
      if (held) rmSync(file, { force: true })
      held = false
    },
  }
}

/** A link appears with its whole content at once, and only if there was none: the lock is never half-written. */
function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Removes the dead owner's lock, and only that one: of two processes that found it, the slower puts back what it took. */
function takeAway(file: string, dead: string): void {
  const aside = `${file}.${randomBytes(6).toString('hex')}`
  try {
    renameSync(file, aside)
  } catch {
    return
  }
  if (read(aside) !== dead) tryLink(aside, file)
  rmSync(aside, { force: true })
}

export function holderOf(pid: number): Holder {
  return { pid, startTicks: startTicksOf(pid) ?? '' }
}

function isAlive(holder: Holder): boolean {
  return startTicksOf(holder.pid) === holder.startTicks
}

function startTicksOf(pid: number): string | undefined {
  return statOf(pid)?.startTicks
}

function parse(text: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(text)
    const { pid, startTicks } = value as Partial<Holder>
    return typeof pid === 'number' && typeof startTicks === 'string' ? { pid, startTicks } : undefined
  } catch {
    return undefined
  }
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

function alreadyRunning(folder: string, holder: Holder): TidegateError {
  return new TidegateError('ALREADY_RUNNING', {
    message: `Process ${holder.pid} is already running a server in ${folder}.`,
    retryable: true,
    hint: `Stop process ${holder.pid} first, or choose another folder.`,
  })
}
