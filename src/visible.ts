/**
 * What a terminal obeys instead of showing it, or shows in another order or not at all: control characters but for the end of a
 * line (U+009B begins a command as ESC [ does), separators, marks and overrides of direction, and what has no width.
 */
const hidden =
  // oxlint-disable-next-line no-control-regex -- control characters are what it is about
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g

/** A text for a terminal, in which each of these is written as `\\u{9b}`. */
export function visible(text: string): string {
  return text.replaceAll(hidden, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
}

/** The same in JSON, where it stays the same value: each of these as `\\u009b`. What `JSON.stringify` left as it is may be in strings alone. */
export function visibleJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    hidden,
    (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  )
}

/** The same in one line, whatever ends of lines are in it. */
export function visibleLine(text: string): string {
  return visible(text.replaceAll(/\s+/g, ' '))
}
