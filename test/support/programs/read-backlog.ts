import { readFileSync } from 'node:fs'
import { eventKey } from '../../../edge/outbox/layout/keys.ts'
import { exportTexts } from '../../../edge/outbox/look/export.ts'
import { levelFolder } from '../../../edge/store/store-level.ts'
import type { StoreOperation } from '../../../edge/store/store.ts'
import { systemClock as clock } from '../../../src/clock.ts'

/**
 * Writes 200,000 records of a KiB and reads them all. Argument: the folder. Prints how many were read, and by how much
 * the process's own memory grew between a fifth of the way and its end.
 */
const [folder = ''] = process.argv.slice(2)

const batch = 2000
const batches = 100

function ownKiB(): number {
  return Number(/RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1])
}

const store = await levelFolder({ folder, reserveBytes: 0, clock }).open()
const value = 'x'.repeat(1024)
for (let from = 0; from < batch * batches; from += batch) {
  const records = Array.from({ length: batch }, (_, index): StoreOperation => ({
    type: 'put',
    key: eventKey('normal', from + index),
    value,
  }))
  await store.write(records, { sync: false })
}

let read = 0
let earlyKiB = 0
for await (const _ of exportTexts(store, {})) {
  read += 1
  if (read === (batch * batches) / 5) earlyKiB = ownKiB()
}
console.log(JSON.stringify({ read, grownMiB: (ownKiB() - earlyKiB) / 1024 }))
await store.close()
