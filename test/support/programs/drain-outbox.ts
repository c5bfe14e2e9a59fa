import { levelFolder } from '../../../edge/store/store-level.ts'
import { systemClock as clock } from '../../../src/clock.ts'
import { openTestOutbox } from '../edge/test-outbox.ts'

/** Takes and releases all that an outbox holds. Argument: its folder. Prints "drained" when it is empty. */
const [folder = ''] = process.argv.slice(2)

const outbox = await openTestOutbox({
  folder: levelFolder({ folder, reserveBytes: 0, clock }),
  clock,
})
for (;;) {
  const events = await outbox.take(500)
  if (events.length === 0) break
  await outbox.release(events)
}
await outbox.close()
console.log('drained')
