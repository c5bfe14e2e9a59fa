import { runSeed } from './runs.ts'

/** Plays the seeds it is sent, and sends back what each came to. */
process.on('message', (seed: number) => {
  void runSeed(seed).then((report) => process.send?.(report))
})
process.on('disconnect', () => process.exit(0))
