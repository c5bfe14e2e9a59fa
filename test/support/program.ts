import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const programs = join(import.meta.dirname, '../../dist/test/support/programs')

/** The compiled file of a program in test/support/programs, which every Node that we support runs as it is. */
export function programFile(name: string): string {
  const file = join(programs, `${name}.js`)
  if (!existsSync(file)) throw new Error(`there is no ${file}: run tsc -b`)
  return file
}

/** Runs a program to its end, which may be a crash; what it printed, or the signal that ended it. */
export async function runProgram(name: string, ...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [programFile(name), ...args], { stdio: ['ignore', 'pipe', 'ignore'] })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
  const [, signal] = (await once(child, 'close')) as [number | null, string | null]
  return signal ?? said.trim()
}
