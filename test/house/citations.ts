import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './sources.ts'
import { allTitles, numbersIn, type Title } from './titles.ts'

/** A test or suite that a document names. */
export interface Citation {
  /** The invariant it is cited for (`I5`), else the heading it stands under (`G1`, `L2`). */
  under: string
  file: string
  title: string
}

export const titles = allTitles()

/** Lines of a document like "- `test/….test.ts`: "one", "another"", and "- I5 `test/…": each name once. */
export function citationsIn(doc: string): Citation[] {
  let heading = ''
  return readFileSync(join(root, doc), 'utf8')
    .split('\n')
    .flatMap((line) => {
      heading = /^##+ (\S+)/.exec(line)?.[1] ?? heading
      const [, invariant, file, names = ''] =
        /^- (?:(I\d) )?`(test\/[^`]+\.test\.ts)`: (.+)$/.exec(line) ?? []
      if (file === undefined) return []
      const under = invariant ?? heading
      return [...names.matchAll(/"((?:[^"\\]|\\.)+)"/g)].map(([, name = '']) => ({
        under,
        file,
        title: name.replaceAll('\\"', '"'),
      }))
    })
}

/** What a citation names; undefined when there is nothing of that very name in that file. */
export function cited({ file, title }: Citation): Title | undefined {
  return titles.find((one) => one.file === file && one.title === title)
}

/** Citations of nothing. */
export function missing(citations: readonly Citation[]): string[] {
  return citations.filter((one) => !cited(one)).map(({ file, title }) => `${file}: ${title}`)
}

/** Citations for a number that neither the title nor a suite around it carries: `-t` would not find them. */
export function unnumbered(citations: readonly Citation[]): string[] {
  return citations
    .filter((one) => !numbersIn(cited(one)?.full ?? '').includes(one.under))
    .map(({ under, file, title }) => `${under}: ${file}: ${title}`)
}
