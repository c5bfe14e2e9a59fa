import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

/** What is reached from some files by their imports. */
export interface Closure {
  /** Files, relative to the folder. */
  files: readonly string[]
  /** Packages, by name. */
  packages: readonly string[]
}

export interface ClosureOptions {
  /** What an import names, as a file: of a declaration it is the declaration. */
  fileOf: (path: string) => string
  /** Imports that are not followed, of a file or of a package. */
  isLeftOut?: (specifier: string, from: string) => boolean
}

/** As the compiler writes them: at the beginning of a line, and `import()` anywhere. */
const imports =
  /^(?:import|export)\b[^'";]*?\bfrom\s+['"]([^'"\n]+)['"]|^import\s+['"]([^'"\n]+)['"]|\bimport\(\s*['"]([^'"\n]+)['"]\s*\)/gm

/** All that `entries` import, and what those do, within a folder. */
export function closureOf(folder: string, entries: readonly string[], options: ClosureOptions): Closure {
  const files = new Set(entries)
  const packages = new Set<string>()
  for (const file of files) {
    for (const specifier of specifiersIn(readFileSync(join(folder, file), 'utf8'))) {
      if (options.isLeftOut?.(specifier, file)) continue
      if (specifier.startsWith('.')) files.add(options.fileOf(relative('.', join(dirname(file), specifier))))
      else if (!specifier.startsWith('node:')) packages.add(packageOf(specifier))
    }
  }
  return { files: [...files].toSorted(), packages: [...packages].toSorted() }
}

function specifiersIn(text: string): string[] {
  return [...withoutComments(text).matchAll(imports)].map(
    ([, ...found]) => found.find((specifier) => specifier !== undefined) ?? '',
  )
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '')
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}
