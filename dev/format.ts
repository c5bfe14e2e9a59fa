/** Times and numbers as people read them: on the screen, in the report, and in what is said of a run. */

/** `0:02:05`: how long something has gone on. */
export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  return `${Math.floor(seconds / 3600)}:${twoDigits(Math.floor(seconds / 60) % 60)}:${twoDigits(seconds % 60)}`
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0')
}

/** `12 ms`, `1.2 s`, `2.5 min`: how long something took. */
export function milliseconds(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  return ms < 120_000 ? `${(ms / 1000).toFixed(1)} s` : `${(ms / 60_000).toFixed(1)} min`
}

/** `121,022` */
export function grouped(value: number): string {
  return value.toLocaleString('en-US')
}

/** A text with its numbers as `grouped` writes them. */
export function numbersGrouped(text: string): string {
  return text.replaceAll(/\d+/g, (digits) => grouped(Number(digits)))
}
