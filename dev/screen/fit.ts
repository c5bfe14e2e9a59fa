/** A line of the view, and how soon it goes where there is no room: the highest first, 0 never. */
export interface Ranked {
  text: string
  rank: number
}

/** At most so many lines: of those that are worth least, the last goes first. */
export function fitting(lines: readonly Ranked[], linesMax: number): string[] {
  const kept = [...lines]
  while (kept.length > linesMax) {
    const highest = Math.max(...kept.map(({ rank }) => rank))
    if (highest === 0) break
    kept.splice(
      kept.findLastIndex(({ rank }) => rank === highest),
      1,
    )
  }
  return kept.slice(-Math.max(1, linesMax)).map(({ text }) => text)
}

const between = '   '

/** Words side by side, on as many lines as it takes. */
export function wrapped(words: readonly string[], width: number): string[] {
  const lines: string[] = []
  for (const word of words) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + between.length + word.length <= width)
      lines[lines.length - 1] = `${last}${between}${word}`
    else lines.push(word)
  }
  return lines
}
