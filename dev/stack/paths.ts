import { relative } from 'node:path'
import { quoted } from '../../src/settings/shell.ts'

/** From here, unless that leads up and away. */
export function shortest(file: string): string {
  const fromHere = relative('.', file)
  return fromHere.startsWith('..') ? file : fromHere
}

/** Both: for a command that is to be typed here. */
export function pathOf(file: string): string {
  return quoted(shortest(file))
}
