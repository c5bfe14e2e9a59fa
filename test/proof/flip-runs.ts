import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { FlipLine, FlipTask } from './flip-worker.ts'
import { makeStores, type Place, placesOf, type State, states } from './flips.ts'

export interface FlipsOptions {
  /** Of all bytes every so manieth is flipped. */
  every: number
  jobs: number
  say?: (line: string) => void
}

export interface FlipsResult {
  flips: number
  /** Processes that LevelDB ended; each was started again on the same folder. */
  aborts: number
  faults: string[]
}

/** As many starts as it takes at the most until every block is checked (edge/outbox/DESIGN.md). */
const startsMax = 4
const patienceMs = 60_000
/** In memory, where there is such a folder: it takes a fraction of the time. */
const tmp = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

/**
 * Flips single bytes of an outbox on the real LevelDB, one at a time, and lets each folder run empty: nothing may be served altered,
 * and what is not served must be named (G1, G2). A process that LevelDB ends is started again, as a supervisor would.
 */
export async function runFlips({ every, jobs, say = () => {} }: FlipsOptions): Promise<FlipsResult> {
  const root = await mkdtemp(join(tmp, 'tidegate-flips-'))
  try {
    const books = await makeStores(root)
    const places = Object.fromEntries(
      await Promise.all(states.map(async (state) => [state, await placesOf(join(root, state))] as const)),
    ) as Record<State, Place[]>
    await writeFile(join(root, 'books.json'), JSON.stringify(books))
    await writeFile(join(root, 'places.json'), JSON.stringify(places))
    const result: FlipsResult = { flips: 0, aborts: 0, faults: [] }
    const part = async (state: State, job: number): Promise<void> => {
      const copies = join(root, `${state}-${job}`)
      let task: FlipTask = { root, state, copies, from: job * every, every: jobs * every, again: false }
      for (let ended = 0; ;) {
        const { lines, signal } = await runWorker(task)
        const begun = new Set(lines.map(({ index }) => index))
        result.flips += task.again ? begun.size - 1 : begun.size
        for (const { index, fault } of lines)
          if (fault !== undefined) result.faults.push(`${state}, ${nameOf(places[state][index])}: ${fault}`)
        if (signal === undefined) return
        result.aborts += 1
        const from = lines.at(-1)?.index ?? task.from
        ended = task.again && from === task.from ? ended + 1 : 1
        task = { ...task, from, again: true }
        if (ended < startsMax) continue
        result.faults.push(`${state}, ${nameOf(places[state][from])}: ${signal} at ${ended} starts`)
        task = { ...task, from: from + task.every, again: false }
      }
    }
    for (const state of states) {
      say(`${state}: ${places[state].length} bytes, ${books[state].queued.length} events wait`)
      await Promise.all(Array.from({ length: jobs }, (_, job) => part(state, job)))
    }
    return result
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

/** What it printed, and what ended it before its time. */
async function runWorker(task: FlipTask): Promise<{ lines: FlipLine[]; signal: string | undefined }> {
  const worker = join(dist, 'flip-worker.js')
  const child = spawn(process.execPath, [worker, JSON.stringify(task)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const lines: FlipLine[] = []
  const idle = setTimeout(() => child.kill('SIGKILL'), patienceMs)
  createInterface({ input: child.stdout }).on('line', (line) => {
    idle.refresh()
    lines.push(JSON.parse(line) as FlipLine)
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(idle)
      if (code !== null && code !== 0) reject(new Error(`a worker ended with ${code}`))
      else resolve({ lines, signal: signal ?? undefined })
    })
  })
}

/** The compiled programs, whether we are one of them or run from source. */
const dist = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../dist/test/proof' : '.', import.meta.url),
)

function nameOf(place: Place | undefined): string {
  return place ? `byte ${place.at} of ${place.file}` : 'nothing'
}
