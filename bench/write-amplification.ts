import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { silentOutboxObserver } from '../edge/observers.ts'
import type { Outbox } from '../edge/outbox.ts'
import { systemClock } from '../src/clock.ts'
import { inFolder, open, reading } from './outbox-load.ts'
import { printTable } from './table.ts'

/**
 * Flash wear: bytes the kernel wrote for this process (write_bytes of /proc/self/io: log, tables, compaction) for each
 * byte of payload that came in and was delivered again, at several rates. Small batches cost most: a synced write
 * dirties whole pages.
 *
 *     npm run bench:write-amplification -- [--seconds 20]
 */
const { values } = parseArgs({ options: { seconds: { type: 'string', default: '20' } } })
const seconds = Number(values.seconds)

interface Row {
  events: number
  payloadBytes: number
  writtenBytes: number
  syncs: number
}

const rows: [string, Row][] = []
for (const perSecond of [10, 1000, Infinity]) {
  rows.push([
    perSecond === Infinity ? 'as fast as it goes' : `${perSecond} events/s`,
    await measure(perSecond),
  ])
}
printTable(`write amplification, 200-byte payloads, ${seconds} s each`, [
  ['rate', 'events', 'payload MB', 'written MB', 'written / payload', 'syncs/s'],
  ...rows.map(([rate, { events, payloadBytes, writtenBytes, syncs }]) => [
    rate,
    events,
    payloadBytes / 1e6,
    writtenBytes / 1e6,
    writtenBytes / payloadBytes,
    syncs / seconds,
  ]),
])

function measure(perSecond: number): Promise<Row> {
  return inFolder(async (folder) => {
    let syncs = 0
    const observer = { ...silentOutboxObserver, batch: () => void syncs++ }
    const outbox = await open(folder, { observer })
    const before = writtenByUs()
    const endMs = performance.now() + seconds * 1000
    let events = 0
    const stop = new AbortController()
    const draining = drain(outbox, stop.signal)
    if (perSecond === Infinity) {
      await Promise.all(
        Array.from({ length: 500 }, async () => {
          while (performance.now() < endMs) await outbox.append(reading(events++))
        }),
      )
    } else {
      const startedMs = performance.now()
      while (performance.now() < endMs) {
        const due = Math.floor(((performance.now() - startedMs) / 1000) * perSecond)
        await Promise.all(Array.from({ length: due - events }, () => outbox.append(reading(events++))))
        await systemClock.sleep(Math.min(100, 1000 / perSecond))
      }
    }
    stop.abort()
    await draining
    const writtenBytes = writtenByUs() - before
    await outbox.close()
    return { events, payloadBytes: events * 200, writtenBytes, syncs }
  })
}

/** What the forwarder does: takes and releases. */
async function drain(outbox: Outbox, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await outbox.ready(signal)
    const taken = await outbox.take(500)
    if (taken.length > 0) await outbox.release(taken)
  }
}

function writtenByUs(): number {
  return Number(/^write_bytes: (\d+)/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1])
}
