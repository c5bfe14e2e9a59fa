import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { programFile } from '../program.ts'

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
  const args = [programFile('cloud'), JSON.stringify(config), dieAt]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  let port = 0
  async function firstLine(): Promise<void> {
    const line = once(createInterface({ input: child.stdout }), 'line')
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
