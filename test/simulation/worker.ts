import { register } from 'node:module'
import type { Task } from './crew.ts'
import { urlOfMutant } from './mutation/mutant.ts'
import type { runSeed } from './runs.ts'

register('./mutation/mutant-hooks.js', import.meta.url)

/** Of the programs as they are, or of a mutant, which shares no module of ours with them. */
async function programs(mutant?: string): Promise<{ runSeed: typeof runSeed }> {
  const url = new URL('runs.js', import.meta.url).href
  return import(mutant === undefined ? url : urlOfMutant(url, mutant)) as Promise<{ runSeed: typeof runSeed }>
}

/** Plays what it is sent, and sends back what each run came to. */
process.on('message', ({ seed, mutant }: Task) => {
  void programs(mutant)
    .then((its) => its.runSeed(seed))
    .then((report) => process.send?.(report))
})
process.on('disconnect', () => process.exit(0))
