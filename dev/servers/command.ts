import { spawn } from 'node:child_process'

export interface Command {
  file: string
  args: readonly string[]
  /** The whole environment, not an addition to ours: a stray variable of the caller's shell changes nothing. */
  env?: NodeJS.ProcessEnv
  cwd?: string
  uid?: number
  gid?: number
}

export interface Outcome {
  /** Exit code; 127 if the file could not be started, 128 if a signal ended it. */
  code: number
  stdout: string
  stderr: string
}

/** Runs a command to its end. Never rejects: a failure is an exit code. Aborting `signal` ends it by SIGTERM. */
export function run(
  command: Command,
  options: { signal?: AbortSignal; timeoutMs?: number } = {},
): Promise<Outcome> {
  const { file, args, ...how } = command
  const child = spawn(file, args, {
    ...how,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.signal && { signal: options.signal }),
    ...(options.timeoutMs !== undefined && { timeout: options.timeoutMs }),
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: 127, stdout, stderr: stderr + error.message }))
    child.once('close', (code) => resolve({ code: code ?? 128, stdout, stderr }))
  })
}

/** The last lines of a text, for an error message. */
export function tail(text: string, lines = 12): string {
  return text.trimEnd().split('\n').slice(-lines).join('\n')
}

/** What a program has printed, if it is JSON; undefined if not. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
