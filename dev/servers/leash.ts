/**
 * A program: runs one server and does not outlive whoever started it. Its standard input is the leash: the
 * first line is the plan; then `stop` or `kill`; and when it closes, because the parent closed it or died by
 * any death, the server is stopped. Standard output reports, one JSON object a line.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Command } from './command.ts'

export interface LeashPlan {
  server: Command
  /** Run from before the server until after it (epmd). */
  helpers: readonly Command[]
  /** Run once after the server has ended (`docker rm`). */
  cleanup?: Command
  /** Asks the server to end in good order. */
  stopSignal: 'SIGTERM' | 'SIGINT'
  /** How long the server may take over that before it is killed. */
  graceMs: number
  /** Takes what server and helpers print; emptied at each start. */
  consoleFile: string
}

export type LeashReport =
  { event: 'started'; pid: number } | { event: 'ended'; code: number | null; cause: string }

const input = createInterface({ input: process.stdin })
let server: ChildProcess | undefined
let stopping = false

// Once the parent is dead nobody reads, and that must not stop us from stopping the server.
process.stdout.on('error', () => undefined)
process.on('SIGTERM', stop)
process.on('SIGINT', stop)
process.on('SIGHUP', stop)
input.once('line', (line) => {
  input.on('line', (order) => (order === 'kill' ? signalGroup(server, 'SIGKILL') : stop()))
  start(JSON.parse(line) as LeashPlan)
})
input.once('close', stop)

let stopServer: () => void = () => process.exit(0)

function stop(): void {
  if (stopping) return
  stopping = true
  stopServer()
}

function start(plan: LeashPlan): void {
  const console = openSync(plan.consoleFile, 'w', 0o600)
  // A process group of its own: one signal reaches all of it, and the terminal's Ctrl-C reaches none of it.
  const launch = ({ file, args, ...how }: Command): ChildProcess =>
    spawn(file, args, { ...how, detached: true, stdio: ['ignore', console, console] })

  const helpers = plan.helpers.map((helper) => launch(helper).on('error', () => undefined))
  const child = launch(plan.server)
  server = child

  let grace: NodeJS.Timeout | undefined
  stopServer = () => {
    child.kill(plan.stopSignal)
    grace = setTimeout(() => signalGroup(child, 'SIGKILL'), plan.graceMs)
  }
  child.once('spawn', () => report({ event: 'started', pid: child.pid ?? 0 }))
  child.once('error', (error) => void end(null, error.message))
  child.once('exit', (code, signal) => void end(code, signal ?? `exit code ${code}`))

  async function end(code: number | null, cause: string): Promise<void> {
    clearTimeout(grace)
    for (const process of [child, ...helpers]) signalGroup(process, 'SIGKILL')
    await Promise.all(helpers.map(hasEnded))
    if (plan.cleanup) await hasEnded(launch(plan.cleanup).on('error', () => undefined))
    report({ event: 'ended', code, cause })
    process.exit(0)
  }
}

function hasEnded(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) resolve()
    else child.once('exit', () => resolve())
  })
}

function signalGroup(child: ChildProcess | undefined, signal: NodeJS.Signals): void {
  if (child?.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch {
    // The group is empty: nothing left to signal.
  }
}

function report(report: LeashReport): void {
  process.stdout.write(`${JSON.stringify(report)}\n`)
}
