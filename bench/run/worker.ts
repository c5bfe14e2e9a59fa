import { fork } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Product } from './case.ts'

/** This checkout. */
export const thisCheckout: Product = {
  revision: undefined,
  root: fileURLToPath(new URL('../../../', import.meta.url)),
}

const workers = fileURLToPath(new URL('../workers/', import.meta.url))

/**
 * Runs a task in a process of its own, `bench/workers/<name>.ts`, so that no measurement inherits the heap of another; resolves
 * with what it answers, undefined if it died.
 * @throws Error if it failed
 */
export async function runWorker<Answer>(name: string, task: object): Promise<Answer | undefined> {
  const child = fork(join(workers, `${name}.js`), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  let answer: Answer | undefined
  child.on('message', (message) => (answer = message as Answer))
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) =>
    child.once('close', (code, signal) => resolve(signal ?? code)),
  )
  child.send(task)
  const end = await ended
  if (end !== 0 && end !== 'SIGKILL') throw new Error(`bench worker ${name} ended with ${end}`)
  return answer
}

/** The worker's side: does its one task, answers, and ends. It ends too when who asked is gone. */
export function onTask(work: (task: never) => Promise<object>): void {
  process.once('disconnect', () => process.exit(1))
  process.once('message', (task) => {
    void work(task as never).then(
      (answer) => process.send?.(answer, () => process.exit(0)),
      (error: unknown) => {
        console.error(error)
        process.exit(1)
      },
    )
  })
}

/** A module of a checkout, by its path in the source: `edge/outbox/open.ts`. */
export function moduleOf<Module>(root: string, path: string): Promise<Module> {
  return import(pathToFileURL(join(root, 'dist', path.replace(/\.ts$/, '.js'))).href) as Promise<Module>
}

/** The compiled `tidegate` of a checkout. */
export function commandOf({ root }: Product): string {
  return join(root, 'dist/cli/tidegate.js')
}
