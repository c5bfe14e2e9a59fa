import { type ChildProcess, fork } from 'node:child_process'
import { TidegateError } from '../../src/errors.ts'
import type { RunReport } from './runs.ts'

export interface CrewOptions {
  /** The compiled worker; a mutant brings its own. */
  worker: URL
  jobs: number
  seeds: Iterable<number>
  onReport: (report: RunReport) => void
  /** No further run begins after this. */
  stop: AbortSignal
}

/** A run that takes longer spins: it will never end. */
const runMsMax = 60_000

/** Plays seeds in several processes; resolves when every run that began has ended. */
export async function playAll({ worker, jobs, seeds, onReport, stop }: CrewOptions): Promise<void> {
  const queue = seeds[Symbol.iterator]()
  await Promise.all(Array.from({ length: jobs }, () => work()))

  async function work(): Promise<void> {
    let child: ChildProcess | undefined
    for (let next = queue.next(); !next.done && !stop.aborted; next = queue.next()) {
      child ??= start()
      const report = await played(child, next.value)
      onReport(report ?? endless(next.value))
      if (report === undefined) child = undefined
    }
    child?.disconnect()
  }

  function start(): ChildProcess {
    return fork(worker, { execArgv: ['--max-semi-space-size=64', '--enable-source-maps'] })
  }
}

/**
 * Undefined: it did not end, and its process was ended.
 * @throws TidegateError `SIMULATION_WORKER` when the process ended by itself
 */
function played(child: ChildProcess, seed: number): Promise<RunReport | undefined> {
  return new Promise((resolve, reject) => {
    const settle = (report: RunReport | undefined): void => {
      clearTimeout(patience)
      child.off('message', settle)
      child.off('exit', onExit)
      resolve(report)
    }
    const onExit = (code: number | null): void => {
      if (code === null) settle(undefined)
      else reject(ended(seed, code))
    }
    const patience = setTimeout(() => child.kill('SIGKILL'), runMsMax)
    child.once('message', settle)
    child.once('exit', onExit)
    child.send(seed)
  })
}

function ended(seed: number, code: number): TidegateError {
  return new TidegateError('SIMULATION_WORKER', {
    message: `the process that played seed ${seed} ended with code ${code}`,
    retryable: false,
    hint: 'what it wrote to stderr says why',
  })
}

function endless(seed: number): RunReport {
  const detail = `the run did not end within ${runMsMax / 1000} s: something spins`
  return { seed, violations: [{ guarantee: 'live', detail }], counts: [], simulatedMs: 0 }
}
