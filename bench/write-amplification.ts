import { diskWriteBytes } from '../edge/ops/disk-writes.ts'
import { silentOutboxObserver } from '../edge/outbox/observer.ts'
import { fill, inFolder, open, reading } from './outbox-load.ts'
import { printTable } from './table.ts'
import { programOf, wholeNumber } from '../src/settings/command-line.ts'

/**
 * Flash wear: bytes that reach the disk for each byte of event text, and fsyncs, at several rates, with every
 * event delivered soon after, as on a gateway whose uplink is up. Linux only; the folder must be on a real disk.
 */
const { seconds } = programOf(
  'npm run bench:write-amplification --',
  'bytes that reach the disk for each byte of event text',
)
  .option('--seconds <count>', 'of each measurement', wholeNumber(), 20)
  .parse()
  .opts<{ seconds: number }>()

interface Wear {
  events: number
  payloadBytes: number
  writtenBytes: number
  diskBytes: number
  fsyncs: number
}

const rows: (string | number)[][] = []
for (const [name, perSecond] of [
  ['10/s, one at a time', 10],
  ['1000/s', 1000],
  ['as fast as it goes, delivered', Infinity],
  ['as fast as it goes, uplink down', Infinity],
] as const) {
  const wear = await measure(perSecond, !name.endsWith('down'))
  rows.push([
    name,
    wear.events / seconds,
    wear.payloadBytes / wear.events,
    wear.writtenBytes / wear.payloadBytes,
    wear.diskBytes / wear.payloadBytes,
    wear.fsyncs / seconds,
  ])
}
printTable(`Bytes written for each byte of event text, ${seconds} s each`, [
  ['', 'events/s', 'bytes each', 'to LevelDB', 'to disk', 'fsyncs/s'],
  ...rows,
])

function measure(perSecond: number, deliver: boolean): Promise<Wear> {
  return inFolder(async (folder) => {
    const wear: Wear = { events: 0, payloadBytes: 0, writtenBytes: 0, diskBytes: 0, fsyncs: 0 }
    const outbox = await open(folder, {
      observer: {
        ...silentOutboxObserver,
        wrote(bytes, syncMs) {
          wear.writtenBytes += bytes
          if (syncMs !== undefined) wear.fsyncs += 1
        },
        batch(events, payloadBytes) {
          wear.events += events
          wear.payloadBytes += payloadBytes
        },
      },
    })
    const stop = new AbortController()
    const delivering = deliver ? deliverAll() : Promise.resolve()
    const before = diskWriteBytes() ?? NaN
    const endMs = performance.now() + seconds * 1000
    for (let number = 0; performance.now() < endMs;) {
      if (perSecond === Infinity) await fill(outbox, 5000)
      else {
        for (let count = 0; count < Math.max(1, perSecond / 20); count++)
          await outbox.append(reading(number++))
        await new Promise((resolve) => setTimeout(resolve, Math.max(50, 1000 / perSecond)))
      }
    }
    wear.diskBytes = (diskWriteBytes() ?? NaN) - before
    stop.abort()
    await delivering
    await outbox.close()
    return wear

    async function deliverAll(): Promise<void> {
      while (!stop.signal.aborted) {
        const events = await outbox.take(500)
        if (events.length > 0) await outbox.release(events)
        else await outbox.ready(stop.signal)
      }
    }
  })
}
