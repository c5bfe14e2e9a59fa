import type { Program } from '../stack/processes.ts'
import { readableLine } from '../stack/program-log.ts'
import type { Screen } from './screen.ts'

const logEveryMs = 1000
const logLinesMax = 3

/** Shows what the programs warn of. */
export function followLogs(programs: readonly Program[], screen: Screen): { close(): void } {
  const timer = setInterval(() => {
    for (const program of programs) {
      const notable = program
        .newLines()
        .map(readableLine)
        .filter(({ level }) => ['warn', 'error', 'fatal'].includes(level))
      for (const { level, text, atMs } of notable.slice(-logLinesMax))
        screen.note(program.name, text, level === 'warn' ? 'warn' : 'error', atMs)
    }
  }, logEveryMs)
  return { close: () => clearInterval(timer) }
}
