/** A text as SQL has it. With `standard_conforming_strings`, which is on unless somebody turns it off, a backslash is one. */
export function quotedText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

export function quotedName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function inSchema(schema: string, name: string): string {
  return `${quotedName(schema)}.${quotedName(name)}`
}
