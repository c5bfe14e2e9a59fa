import { pino, type Logger } from 'pino'
import type { Journal } from './journal.ts'

/** What the programs log, in the journal. */
export function tracingLog(journal: Journal): Logger {
  return pino(
    { level: 'info', base: null, timestamp: false },
    {
      write(line: string) {
        const { level, msg, err, ...rest } = JSON.parse(line) as Record<string, unknown>
        void level
        void err
        journal.tell('log', `${String(msg)} ${JSON.stringify(rest)}`)
      },
    },
  )
}
