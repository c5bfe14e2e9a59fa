import { openSync, writeSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { silentOutboxObserver } from '../../edge/outbox/observer.ts'
import { levelFolder } from '../../edge/store/store-level.ts'
import { systemClock as clock } from '../../src/clock.ts'
import { openTestOutbox } from '../support/edge/test-outbox.ts'
import { oldEvent } from './upgrade.ts'

/**
 * A gateway that opens an outbox of the layout before blocks and lets it run empty, until it is killed. Argument: `{ folder, delivered,
 * repeats }`. What it took is written down before it is released, as the cloud would have it: sequence and checksum of each text. Prints
 * "open", and when the outbox is empty `{ lost, left, accepted }`: events counted as lost, events that are said to be left, and how many of the
 * events whose numbers are in `repeats` were taken for new.
 */
const { folder, delivered, repeats } = JSON.parse(process.argv[2] as string) as {
  folder: string
  delivered: string
  repeats: number[]
}
let lost = 0
const outbox = await openTestOutbox({
  folder: levelFolder({ folder, reserveBytes: 0, clock }),
  clock,
  observer: { ...silentOutboxObserver, lost: (count) => (lost += count) },
})
console.log('open')
const file = openSync(delivered, 'a')
for (;;) {
  const taken = await outbox.take(500)
  if (taken.length === 0) break
  writeSync(file, Uint32Array.from(taken.flatMap(({ sequence, text }) => [sequence, crc32(text)])))
  await outbox.release(taken)
}
const { depth } = outbox.stats()
const admissions = await Promise.all(repeats.map((number) => outbox.append(oldEvent(number))))
const accepted = admissions.filter(({ kind }) => kind !== 'duplicate').length
await outbox.close()
console.log(JSON.stringify({ lost, left: depth.high + depth.normal, accepted }))
