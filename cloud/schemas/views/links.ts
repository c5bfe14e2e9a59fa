import { TidegateError } from '../../../src/errors.ts'
import { upcastFolder } from '../../../src/schemas/folder.ts'
import { type SchemaSource, textIn } from '../../../src/schemas/source.ts'
import { parseUpcast } from '../../../src/schemas/upcast/file.ts'
import type { Step } from '../../../src/schemas/upcast/steps.ts'

/** From a version to the next one that there is, as far as SQL can go it. */
export interface ViewLink {
  from: number
  to: number
  /** `function`: code, which does not run in a database. No steps: data is taken over as it is. */
  steps: readonly Step[] | 'function'
}

/**
 * The way from the first version of a type to the newest. Nothing is loaded or run.
 * @throws TidegateError `SCHEMA_FOLDER` naming each file of steps that cannot be used
 */
export function viewLinks(source: SchemaSource, type: string, versions: readonly number[]): ViewLink[] {
  const faults: string[] = []
  const links = versions.slice(1).map((to, index) => {
    const from = versions[index] as number
    const file = `${type}/${upcastFolder}/${from}-${to}`
    const text = textIn(source, `${file}.yaml`)
    if (text === undefined)
      return { from, to, steps: source.files.has(`${file}.js`) ? ('function' as const) : [] }
    const parsed = parseUpcast(text)
    if ('steps' in parsed) return { from, to, steps: parsed.steps }
    faults.push(...parsed.faults.map((fault) => `${file}.yaml: ${fault}`))
    return { from, to, steps: [] }
  })
  if (faults.length === 0) return links
  throw new TidegateError('SCHEMA_FOLDER', {
    message: `${source.name} holds upcasters that cannot be used:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
    retryable: false,
    hint: 'see docs/VERSIONS.md, Upcasters; tidegate schema check says what is wrong',
  })
}
