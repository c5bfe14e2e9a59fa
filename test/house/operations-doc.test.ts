import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const pages = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)]
  .filter((path) => path.endsWith('.md'))
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))

describe('the documents', () => {
  test('link to nothing that is not there', () => {
    const dead = pages.flatMap(({ path, text }) =>
      [...text.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)].flatMap(([link, target = '', anchor]) => {
        const file = target === '' ? path : join(path, '..', target)
        if (!existsSync(join(root, file))) return [`${path}: ${link}`]
        const there =
          anchor === undefined || anchorsOf(readFileSync(join(root, file), 'utf8')).includes(anchor)
        return there ? [] : [`${path}: ${link}`]
      }),
    )
    expect(dead).toEqual([])
  })
})

/** As the usual renderers make them: lower case, words joined by dashes, nothing else. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}
