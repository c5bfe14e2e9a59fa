import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { programFile } from '../program.ts'
import type { Moment, Order } from '../programs/step-by-step.ts'

/** The cloud in a process of its own, so that it can be killed. */
export interface CloudProgram {
  child: ChildProcess
  /** Resolves when it has started; rejects when it ended before. */
  started: Promise<void>
  /** Resolves when it has ended. */
  ended: Promise<unknown>
  opsUrl(): string
  /** SIGKILL, and waits. */
  kill(): Promise<void>
}

/** `dieAt`: kills itself with SIGKILL in the moment in which its log tells of this step. */
export function startCloudProgram(config: object, dieAt = ''): CloudProgram {
  return run(config, dieAt, [])
}

/** A cloud whose steps with PostgreSQL and RabbitMQ can be seen, and which can be killed at each of them. */
export interface SteppedCloud extends CloudProgram {
  /** The names of the steps since the last call, each once, in the order in which they came first. */
  stepsTaken(): string[]
  /** From now on; the process is killed at the first of this name. */
  dieAt(step: string, moment: Moment): void
}

export function startSteppedCloud(config: object): SteppedCloud {
  const program = run(config, '', ['--import', pathToFileURL(programFile('step-by-step')).href])
  let steps = new Set<string>()
  program.child.on('message', (step) => steps.add(step as string))
  return {
    ...program,
    stepsTaken() {
      const taken = [...steps]
      steps = new Set()
      return taken
    },
    dieAt(step, moment) {
      const order: Order = { die: { step, moment } }
      program.child.send(order)
    },
  }
}

function run(config: object, dieAt: string, execArgv: readonly string[]): CloudProgram {
  const args = [...execArgv, programFile('cloud'), JSON.stringify(config), dieAt]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
  const ended = once(child, 'exit')
  let port = 0
  async function firstLine(): Promise<void> {
    const line = once(createInterface({ input: child.stdout as NonNullable<typeof child.stdout> }), 'line')
    const [text] = (await Promise.race([line, ended.then(() => ['NaN'])])) as [string]
    port = Number(text)
    if (!(port > 0)) throw new Error('the cloud ended before it had started')
  }
  const started = firstLine()
  // One that dies on purpose is not waited for.
  started.catch(() => {})
  return {
    child,
    started,
    ended,
    opsUrl: () => `http://127.0.0.1:${port}`,
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
  }
}
