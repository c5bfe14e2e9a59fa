import { resolve } from 'node:path'
import type { Clock } from '../src/clock.ts'
import { isAbort } from '../src/errors.ts'
import { quoted } from '../src/settings/shell.ts'
import { demoGroup } from './stack/config.ts'

const askEveryMs = 500

/** The first letter that the demonstration makes on purpose; a database that is away is asked again. Undefined: aborted. */
export async function untilLetter(
  parts: { letterToShow: () => Promise<number | undefined>; clock: Clock },
  signal: AbortSignal,
): Promise<number | undefined> {
  const { letterToShow, clock } = parts
  try {
    for (;;) {
      const letter = await letterToShow().catch(() => undefined)
      signal.throwIfAborted()
      if (letter !== undefined) return letter
      await clock.sleep(askEveryMs, signal)
    }
  } catch (error) {
    if (isAbort(error) || signal.aborted) return undefined
    throw error
  }
}

/** Who tells of the first letter, with commands that name it. */
export interface Walk {
  /** The same again, of the oldest that is open now; nothing if there is none, or the database is away. */
  sayNow(): Promise<void>
  /** Waits for no letter any longer. Idempotent. */
  close(): Promise<void>
}

export function startWalk(parts: {
  letterToShow: () => Promise<number | undefined>
  say: (text: string) => void
  /** The file of a cloud's configuration. */
  cloudConfig: string
  clock: Clock
}): Walk {
  const { letterToShow, say, cloudConfig } = parts
  const over = new AbortController()
  const tell = (letter: number | undefined): void => {
    if (letter !== undefined) say(walkText(letter, cloudConfig))
  }
  async function run(): Promise<void> {
    tell(await untilLetter(parts, over.signal))
  }
  const running = run()
  return {
    async sayNow() {
      tell(await letterToShow().catch(() => undefined))
    },
    close() {
      over.abort()
      return running
    },
  }
}

/**
 * How a letter is found, understood, repaired and replayed: commands that work as they stand, one after another, in whatever shell and
 * in whatever folder of the project. Why is a line of its own: an interactive zsh knows no comments.
 */
export function walkText(letter: number, cloudConfig: string): string {
  const config = `--config ${quoted(resolve(cloudConfig))}`
  const steps = [
    ['groups', 'what a consumer could not process, by cause'],
    [`list --group ${demoGroup}`, 'one sensor speaks Fahrenheit: a letter of each of its readings'],
    [`show ${letter}`, 'what came, what was thrown, where'],
    [`replay ${letter} --dry-run`, 'what would be sent again; as it is, it would fail again'],
    [`edit ${letter} --set /temperature=20.2 --reason 'it was Fahrenheit'`, 'repaired; what came is kept'],
    [`replay ${letter} --reason 'it was Fahrenheit'`, 'sent to that group alone: 1 resolved'],
    [`list --group ${demoGroup} --state resolved`, 'there it is'],
  ] as const
  const lines = steps.map(([command, why]) => told(why, `npx tidegate dead ${command} ${config}`))
  return `\nA letter to repair, ${letter} of ${demoGroup} (docs/FAILURES.md):\n${lines.join('\n')}\n`
}

/** What a command is for, and the command, as whoever copies it needs it. */
export function told(why: string, command: string): string {
  return `  ${why}:\n    ${command}`
}
