import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { fill, inFolder, open, rssMb } from './outbox-load.ts'
import { printTable } from './table.ts'
import { programOf, wholeNumber } from '../src/settings/command-line.ts'

/**
 * Restart: from opening to ready, and what it weighs, against an empty outbox; after an orderly stop and after
 * kill -9. Each start is a process of its own. `--full` goes to ten million (some 10 GB of disk).
 */
interface Start {
  readyMs: number
  rssMb: number
}

const program = programOf('npm run bench:restart --', 'from opening to ready, and what it weighs')
  .option('--full', 'go to ten million events', false)
  .action(({ full }: { full: boolean }) => compare([0, 10_000, 1_000_000, ...(full ? [10_000_000] : [])]))
program.command('start <folder>', { hidden: true }).action(start)
program
  .command('fill <folder>', { hidden: true })
  .requiredOption('--events <count>', 'events to queue', wholeNumber({ min: 0 }))
  .action((folder: string, { events }: { events: number }) => fillAndDie(folder, events))
await program.parseAsync()

/** The child's part: what a gateway does before it listens. */
async function start(folder: string): Promise<void> {
  const startedMs = performance.now()
  const outbox = await open(folder)
  const measured: Start = { readyMs: performance.now() - startedMs, rssMb: rssMb() }
  const { depth, lastSequence } = outbox.stats()
  if (depth.normal !== lastSequence) throw new Error(`${depth.normal} of ${lastSequence} events are queued`)
  process.send?.(measured)
  await outbox.close()
  process.disconnect?.()
}

async function fillAndDie(folder: string, count: number): Promise<void> {
  const outbox = await open(folder)
  await fill(outbox, count)
  process.kill(process.pid, 'SIGKILL')
}

async function compare(counts: number[]): Promise<void> {
  const rows: (string | number)[][] = []
  let empty: Start | undefined
  for (const count of counts) {
    await inFolder(async (folder) => {
      await run('fill', folder, '--events', String(count))
      const afterKill = await run('start', folder)
      const afterStop = await run('start', folder)
      empty ??= afterStop
      rows.push([
        `${count} queued`,
        afterKill.readyMs,
        afterStop.readyMs,
        afterKill.rssMb,
        afterStop.rssMb,
        afterStop.rssMb / empty.rssMb,
      ])
    })
  }
  printTable('Restart: from opening to ready', [
    ['', 'after kill -9, ms', 'after a stop, ms', 'memory MB', 'memory MB', 'of empty'],
    ...rows,
  ])
}

async function run(...task: string[]): Promise<Start> {
  const child = fork(fileURLToPath(import.meta.url), task)
  let measured: Start = { readyMs: NaN, rssMb: NaN }
  child.on('message', (message) => (measured = message as Start))
  await once(child, 'close')
  return measured
}
