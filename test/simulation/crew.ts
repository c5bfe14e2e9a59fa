import { type ChildProcess, fork } from 'node:child_process'
import { TidegateError } from '../../src/errors.ts'
import type { RunReport } from './runs.ts'

/** What a worker is sent: a run, on the programs as they are or on a mutant of them. */
export interface Task {
  seed: number
  /** Name of a mutation. */
  mutant?: string
}

export interface PlayOptions {
  seeds: Iterable<number>
  mutant?: string
  onReport: (report: RunReport) => void
  /** No further run begins after this. */
  stop?: AbortSignal
}

/** Processes that play, for as long as there is something to play: what they have loaded they keep. */
export interface Crew {
  /**
   * Plays seeds; resolves when every run that began has ended. One call at a time.
   * @throws TidegateError `SIMULATION_WORKER` when a process ended by itself
   */
  playAll(options: PlayOptions): Promise<void>
  /** Idempotent. */
  close(): void
}

/** A run that takes longer spins: it will never end. */
const runMsMax = 60_000

/** The compiled worker, whether we are compiled or run from source. */
const worker = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/test/simulation/worker.js' : 'worker.js',
  import.meta.url,
)

/** A process is started when it is first needed. */
export function openCrew(jobs: number): Crew {
  const players = Array.from({ length: jobs }, () => new Player())
  return {
    async playAll({ seeds, mutant, onReport, stop }) {
      const queue = seeds[Symbol.iterator]()
      const isOver = (): boolean => stop?.aborted ?? false
      async function work(player: Player): Promise<void> {
        for (let next = queue.next(); !next.done && !isOver(); next = queue.next())
          onReport(await player.play({ seed: next.value, ...(mutant !== undefined && { mutant }) }))
      }
      await Promise.all(players.map(work))
    },
    close() {
      for (const player of players) player.close()
    },
  }
}

class Player {
  #child: ChildProcess | undefined

  async play(task: Task): Promise<RunReport> {
    return (await played(this.#child ?? this.#start(), task)) ?? endless(task)
  }

  #start(): ChildProcess {
    const child = fork(worker, { execArgv: ['--max-semi-space-size=64'] })
    child.once('exit', () => (this.#child = undefined))
    this.#child = child
    return child
  }

  close(): void {
    this.#child?.disconnect()
    this.#child = undefined
  }
}

/**
 * Undefined: it did not end, and its process was ended.
 * @throws TidegateError `SIMULATION_WORKER` when the process ended by itself
 */
function played(child: ChildProcess, task: Task): Promise<RunReport | undefined> {
  return new Promise((resolve, reject) => {
    const settle = (report: RunReport | undefined): void => {
      clearTimeout(patience)
      child.off('message', settle)
      child.off('exit', onExit)
      resolve(report)
    }
    const onExit = (code: number | null): void => {
      if (code === null) settle(undefined)
      else reject(ended(task, code))
    }
    const patience = setTimeout(() => child.kill('SIGKILL'), runMsMax)
    child.once('message', settle)
    child.once('exit', onExit)
    child.send(task)
  })
}

function ended({ seed }: Task, code: number): TidegateError {
  return new TidegateError('SIMULATION_WORKER', {
    message: `the process that played seed ${seed} ended with code ${code}`,
    retryable: false,
    hint: 'what it wrote to stderr says why',
  })
}

function endless({ seed }: Task): RunReport {
  const detail = `the run did not end within ${runMsMax / 1000} s: something spins`
  return { seed, violations: [{ guarantee: 'live', detail }], counts: [], simulatedMs: 0 }
}
