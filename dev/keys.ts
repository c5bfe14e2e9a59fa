import { TidegateError } from '../src/errors.ts'
import { slowMode } from './faults/saboteur.ts'
import type { Quit } from './quit.ts'
import type { Screen } from './screen/screen.ts'
import type { Run } from './run.ts'
import type { Stack } from './stack/stack.ts'

/** While the sensors are at work. */
export function keyNames({ link }: Stack): string[] {
  const ofLink = link ? ['u uplink down/up', 's slow link', 'h half-open'] : []
  return [...ofLink, 'k kill -9 the edge', 'i look inside', 'q quit']
}
/** Once they have stopped. */
export const lastKeyNames = ['q give up waiting']

const ctrlC = '\u0003'
export function isQuitKey(key: string): boolean {
  return key === 'q' || key === ctrlC
}

/** What a person can do to a run while it is shown. */
export function keysFor(parts: {
  run: Run
  stack: Stack
  quit: Quit
  fail: (error: TidegateError) => void
  /** Shows how to look in with clients of one's own. */
  lookInside: () => Promise<void>
  screen: Screen
}): (key: string) => void {
  const { run, stack, quit, screen } = parts
  const { saboteur } = run
  let killing = false
  const toggle = (mode: Parameters<typeof saboteur.setLink>[0]): void =>
    saboteur.setLink(stack.link?.mode.kind === mode.kind ? { kind: 'up' } : mode)
  const kill = async (): Promise<void> => {
    if (killing) return
    killing = true
    try {
      await saboteur.inject({ kind: 'kill', target: 'edge', atMs: 0, forMs: 1000 }, quit.asked)
    } catch (error) {
      if (error instanceof TidegateError) parts.fail(error)
    }
    killing = false
  }
  return (key) => {
    if (isQuitKey(key)) {
      screen.note('run', 'stopping')
      quit.ask()
    } else if (key === 'i') void parts.lookInside()
    else if (key === 'u') toggle({ kind: 'down' })
    else if (key === 's') toggle(slowMode)
    else if (key === 'h') toggle({ kind: 'stalled' })
    else if (key === 'k') void kill()
  }
}
