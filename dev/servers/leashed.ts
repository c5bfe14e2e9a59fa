import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { LeashPlan, LeashReport } from './leash.ts'

export interface Leashed {
  /** Of the process the plan named; the server proper may be a child of it. */
  readonly pid: number
  /** Resolves when the server and its helpers are gone, with the reason: a signal or an exit code. */
  readonly ended: Promise<string>
  /** Asks for an orderly end. */
  stop(): void
  /** SIGKILL to the server's process group. */
  kill(): void
}

/** Starts a server under a leash (see leash.ts). Rejects if its file cannot be run. */
export function startOnLeash(plan: LeashPlan): Promise<Leashed> {
  // Detached: a signal to our whole process group must not take the leash before it has stopped the server.
  const leash = spawn(process.execPath, [leashProgram()], {
    detached: true,
    cwd: '/',
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  leash.stdin.on('error', () => undefined)
  leash.stdin.write(`${JSON.stringify(plan)}\n`)

  let cause = 'its leash died'
  const ended = new Promise<string>((resolve) => {
    leash.once('close', () => resolve(cause))
    leash.once('error', (error) => resolve(error.message))
  })
  return new Promise((resolve, reject) => {
    createInterface({ input: leash.stdout }).on('line', (line) => {
      const report = JSON.parse(line) as LeashReport
      if (report.event === 'ended') {
        cause = report.cause
        return
      }
      resolve({
        pid: report.pid,
        ended,
        stop: () => leash.stdin.end(),
        kill: () => leash.stdin.write('kill\n'),
      })
    })
    void ended.then((reason) => reject(new Error(reason)))
  })
}

/** Node cannot run the TypeScript source, so tests that import it use the compiled leash. */
function leashProgram(): string {
  const inSource = import.meta.url.endsWith('.ts')
  return fileURLToPath(new URL(inSource ? '../../dist/dev/servers/leash.js' : './leash.js', import.meta.url))
}
