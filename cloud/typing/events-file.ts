import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadSchemas } from '../../src/schemas/folder.ts'
import { commentOf, pascal, writtenType } from './written-type.ts'

/** What tidegate-events.d.ts is to hold. */
export interface EventsFile {
  text: string
  types: number
  versions: number
}

const head = `// Written by \`tidegate schema types\`, from the schemas: do not edit it, write it again.
// What defineConsumer knows of the data of events, by type and version.
`

/** The types of all events in a folder of schemas. @throws TidegateError `SCHEMA_FOLDER` */
export function eventsFileOf(folder: string): EventsFile {
  const registry = loadSchemas(folder)
  const named: string[] = []
  const prefixes = registry.types.map(pascal)
  // Two types may differ by a mark alone.
  const prefixOf = (type: string): string => {
    const at = registry.types.indexOf(type)
    return prefixes.indexOf(prefixes[at] as string) === at ? pascal(type) : `${pascal(type)}_${at}_`
  }
  let count = 0
  const types = registry.types.map((type) => {
    const versions = registry.versions(type)
    count += versions.length
    const members = versions.map((version) => {
      const schema = JSON.parse(readFileSync(join(folder, type, `${version}.json`), 'utf8')) as unknown
      const written = writtenType(schema, `${prefixOf(type)}${version}`)
      for (const [name, text] of written.named) named.push(`type ${name} = ${text}\n`)
      return `${commentOf(schema, '      ')}      ${version}: ${indented(written.text)}\n`
    })
    return `    ${JSON.stringify(type)}: {\n${members.join('')}    }\n`
  })
  const text = `${head}\n${named.map((one) => `${one}\n`).join('')}declare global {\n  interface TidegateEvents {\n${types.join('')}  }\n}\n\nexport {}\n`
  return { text, types: types.length, versions: count }
}

function indented(text: string): string {
  return text.replaceAll('\n', '\n      ')
}
