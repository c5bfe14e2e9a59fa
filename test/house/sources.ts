import { readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'

export const root = join(import.meta.dirname, '../..')

export interface Source {
  /** From the root: `edge/outbox/writer/engine.ts`. */
  path: string
  text: string
}

/** Every TypeScript file of a folder, at whatever depth. */
export function sourcesIn(folder: string): Source[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .toSorted()
    .map((name) => {
      const path = `${folder}/${name.split(sep).join('/')}`
      return { path, text: readFileSync(join(root, path), 'utf8') }
    })
}

/** What a file imports, leaving out what is gone when it runs: types. */
export function valueSpecifiersOf(text: string): string[] {
  const statements =
    /^(?:import|export)(?! type\b)\b(?<names>[^'"`;]*?)\bfrom\s+['"](?<from>[^'"]+)['"]|^import\s+['"](?<bare>[^'"]+)['"]|\bimport\(\s*['"](?<lazy>[^'"]+)['"]/gm
  return [...text.matchAll(statements)].flatMap(({ groups = {} }) => {
    const { names = '', from, bare, lazy } = groups
    const onlyTypes = /^\s*\{(\s*type\b[^,}]*,?)+\s*\}\s*$/.test(names)
    return onlyTypes ? [] : [from ?? bare ?? (lazy as string)]
  })
}
