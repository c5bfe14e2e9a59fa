import { systemClock } from '../../../src/clock.ts'
import { openLog } from '../../../src/log.ts'

/** Logs more than a pipe holds, and ends as a side of Tidegate does. Argument: `exit`, and it ends in the middle of it instead. */
const [how] = process.argv.slice(2)

// As the command does; a pipe is written to without waiting from then on.
process.stdout.on('error', () => process.exit())
const { log, end } = openLog({ level: 'info', side: 'edge', name: 'unread' }, systemClock)
for (let line = 0; line < 2000; line += 1) log.info({ line, filler: 'x'.repeat(1000) }, 'nobody reads this')
if (how === 'exit') process.exit(7)
await end()
process.exitCode = 3
