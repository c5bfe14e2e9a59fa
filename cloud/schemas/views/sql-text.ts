/** A text as SQL has it, where `standard_conforming_strings` is on: a backslash is one. */
export function quotedText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

export function quotedName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function inSchema(schema: string, name: string): string {
  return `${quotedName(schema)}.${quotedName(name)}`
}

/** What PostgreSQL can hold of a text that somebody has written: no U+0000, and no half of a surrogate pair. */
export function storableText(text: string): string {
  return text.toWellFormed().replaceAll('\0', '')
}
