import { pino } from 'pino'
import type { CloudConfig } from '../../../cloud/config.ts'
import { runCloud } from '../../../cloud/main.ts'
import { systemClock } from '../../../src/clock.ts'

/**
 * The cloud, until it is killed. Arguments: its configuration as JSON, and the step of its log in whose moment it
 * kills itself with SIGKILL ('' for none). Prints the port of its ops endpoint when it has started.
 */
const [config = '', dieAt = ''] = process.argv.slice(2)

const log = pino(
  { level: 'debug' },
  {
    write(line: string) {
      if (dieAt !== '' && (JSON.parse(line) as { step?: string }).step === dieAt)
        process.kill(process.pid, 'SIGKILL')
    },
  },
)

await runCloud(JSON.parse(config) as CloudConfig, {
  clock: systemClock,
  random: Math.random,
  log,
  signal: new AbortController().signal,
  onStarted: ({ opsPort }) => console.log(opsPort),
})
