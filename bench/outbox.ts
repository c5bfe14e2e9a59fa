import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ClassicLevel } from 'classic-level'
import { cpuUs, fill, inFolder, open, reading, rssMb } from './outbox-load.ts'
import { printTable } from './table.ts'
import { programOf, wholeNumber } from '../src/settings/command-line.ts'

/**
 * Ingest: what durability, dedup, chain and ledger cost against bare LevelDB, and whether they cost more the more
 * IDs are remembered. `--full` goes to ten million, `--events N` sets how many are measured each time.
 */
const { events, full } = programOf('npm run bench:outbox --', 'what durability, dedup, chain and ledger cost')
  .option('--events <count>', 'how many are measured each time', wholeNumber(), 200_000)
  .option('--full', 'go to ten million remembered IDs', false)
  .parse()
  .opts<{ events: number; full: boolean }>()
const remembered = [10_000, 1_000_000, ...(full ? [10_000_000] : [])]

interface Ingest {
  perSecond: number
  cpuPerEvent: number
}

/** The reference: the same texts in synced batches of 400, and nothing else. */
async function bareLevel(): Promise<Ingest> {
  return inFolder(async (folder) => {
    const level = new ClassicLevel(join(folder, 'db'), { writeBufferSize: 8 << 20 })
    await level.open()
    const startedMs = performance.now()
    const startedUs = cpuUs()
    for (let first = 1; first <= events; first += 400) {
      const batch = Array.from({ length: 400 }, (_, index) => ({
        type: 'put' as const,
        key: `e!n!${String(first + index).padStart(16, '0')}`,
        value: reading(first + index).candidate.text,
      }))
      await level.batch(batch, { sync: true })
    }
    const perSecond = (events / (performance.now() - startedMs)) * 1000
    const cpuPerEvent = (cpuUs() - startedUs) / events
    await level.close()
    return { perSecond, cpuPerEvent }
  })
}

/** LevelDB has compacted what was stored and let go of: that is no part of what comes next. A minute at the most. */
async function settled(): Promise<void> {
  for (let second = 0; second < 60; second++) {
    const startedUs = cpuUs()
    await delay(1000)
    if (cpuUs() - startedUs < 50_000) return
  }
}

const rows: (string | number)[][] = []
const reference = await bareLevel()
rows.push([
  'bare LevelDB, batches of 400, sync, no dedup',
  reference.perSecond,
  1,
  '',
  reference.cpuPerEvent,
  rssMb(),
])
let base: number | undefined
for (const count of remembered) {
  await inFolder(async (folder) => {
    const outbox = await open(folder)
    await fill(outbox, count)
    // What was stored is let go of, so that only the memory of it is left.
    for (let taken = await outbox.take(1000); taken.length > 0; taken = await outbox.take(1000))
      await outbox.release(taken)
    await settled()
    const startedUs = cpuUs()
    const perSecond = await fill(outbox, events)
    const cpuPerEvent = (cpuUs() - startedUs) / events
    base ??= perSecond
    rows.push([
      `outbox, ${count} IDs remembered`,
      perSecond,
      perSecond / reference.perSecond,
      perSecond / base,
      cpuPerEvent,
      rssMb(),
    ])
    await outbox.close()
  })
}
printTable(`Ingest of ${events} events, 1000 in flight`, [
  ['', 'events/s', 'of bare', 'of 10 k', 'CPU µs each', 'memory MB'],
  ...rows,
])
