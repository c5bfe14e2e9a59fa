import { relative } from 'node:path'

/** From here, unless that leads up and away. */
export function shortest(file: string): string {
  const fromHere = relative('.', file)
  return fromHere.startsWith('..') ? file : fromHere
}

/** As a shell takes it. */
export function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`
}

/** Both: for a command that is to be typed here. */
export function pathOf(file: string): string {
  return quoted(shortest(file))
}
