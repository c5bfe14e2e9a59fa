import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, extname, join, normalize, sep } from 'node:path'
import { describe, expect, test } from 'vitest'
import { root } from './sources.ts'

/** What is not ours, or is made by a run. */
const skipped = ['node_modules', 'dist', '.git', '.tidegate', 'coverage']
/** Files that may speak of others. */
const speaking = ['.md', '.ts', '.json', '.yaml', '.yml', '.mjs', '.sh', '']

/** Paths and names of what is not in this repository: made by deploy/compose, and a page of somebody else's. */
const elsewhere = ['edge/edge.yaml', 'cloud/cloud.yaml', 'performance-reference.md']

interface Text {
  path: string
  lines: string[]
}

const files = filesIn('.')
const names = new Set(files.map((file) => basename(file)))
const texts: Text[] = files
  .filter((file) => speaking.includes(extname(file)) && basename(file) !== 'package-lock.json')
  // This one speaks of what is not there, to see that it is found.
  .filter((file) => file !== 'test/house/references.test.ts')
  .map((path) => ({ path, lines: readFileSync(join(root, path), 'utf8').split('\n') }))

function filesIn(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = normalize(join(folder, entry.name)).split(sep).join('/')
    if (entry.isDirectory()) return skipped.includes(entry.name) ? [] : filesIn(path)
    return entry.isFile() ? [path] : []
  })
}

/** The anchors that a page has, as GitHub makes them of its headings. */
function anchorsOf(page: string): string[] {
  return readFileSync(join(root, page), 'utf8')
    .split('\n')
    .flatMap((line) => /^#+ (.+)$/.exec(line)?.[1] ?? [])
    .map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    )
}

function isThere(path: string, anchor: string | undefined): boolean {
  if (!existsSync(join(root, path))) return false
  return anchor === undefined || !path.endsWith('.md') || anchorsOf(path).includes(anchor)
}

/** Links of a page into the repository that lead nowhere. */
function deadLinks({ path, lines }: Text): string[] {
  return lines
    .flatMap((line) => [...line.matchAll(/\]\(([^)\s]+)\)/g)])
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => {
      const [to = '', anchor] = target.split('#')
      return !isThere(to === '' ? path : normalize(join(dirname(path), to)), anchor)
    })
}

/** Paths from the root, written anywhere: in prose, in comments, in hints. */
function deadPaths({ lines }: Text): string[] {
  const folders = 'src|edge|cloud|certs|cli|dev|bench|test|docs|config|deploy|schemas|console'
  const path = new RegExp(
    String.raw`(?<![\w./@:-])((?:${folders})/[\w./-]*\w\.(?:ts|md|json|ya?ml|mjs))(?:#([\w-]+))?(?![\w*{])`,
    'g',
  )
  return lines
    .flatMap((line) => [...line.matchAll(path)])
    .filter(([, to = '', anchor]) => !elsewhere.includes(to) && !isThere(to, anchor))
    .map(([whole]) => whole)
}

/** Names of files without their folder, in backticks or in a comment. */
function deadNames({ path, lines }: Text): string[] {
  const spoken = path.endsWith('.md') ? lines : lines.filter((line) => /^\s*(\/\/|\/?\*)/.test(line))
  return spoken
    .flatMap((line) => [...line.matchAll(/(?<![\w./*<>{}-])([\w-]+\.(?:ts|md))(?![\w/.-]*\/)\b/g)])
    .map(([, name = '']) => name)
    .filter((name) => !elsewhere.includes(name) && !names.has(name))
}

/** Compiled files that no source of ours becomes. */
function deadBuilds({ lines }: Text): string[] {
  return lines
    .flatMap((line) => [...line.matchAll(/(?<!\w\/)\bdist\/([\w./-]+\w)(?:\.d\.ts|\.js)\b/g)])
    .filter(([, source = '']) => !existsSync(join(root, `${source}.ts`)))
    .map(([whole]) => whole)
}

function all(find: (text: Text) => string[], of = texts): string[] {
  return of.flatMap((text) => find(text).map((what) => `${text.path}: ${what}`))
}

/** References to a part of a document that has no address. */
function vague({ lines }: Text): string[] {
  return lines.filter((line) => /\bDESIGN: /.test(line))
}

/** What a page could say. */
function told(...lines: string[]): Text {
  return { path: 'docs/ERRORS.md', lines }
}

describe('a reference leads somewhere', () => {
  test('in the links of the documents, with their anchors', () => {
    const pages = texts.filter(({ path }) => path.endsWith('.md'))
    expect(pages.length).toBeGreaterThan(15)
    expect(all(deadLinks, pages)).toEqual([])
  })

  test('where a path is written, in prose, comments, hints and settings', () => {
    expect(all(deadPaths)).toEqual([])
  })

  test('where a compiled file is named', () => {
    expect(all(deadBuilds)).toEqual([])
  })

  test('where a file is named without its folder', () => {
    expect(all(deadNames)).toEqual([])
  })

  test('and none to a part of a document that has no address', () => {
    expect(all(vague)).toEqual([])
  })

  test('and what leads nowhere is found', () => {
    expect(deadLinks(told('[a](WIRE.md) [b](NONE.md) [c](WIRE.md#none) [d](https://none)'))).toEqual([
      'NONE.md',
      'WIRE.md#none',
    ])
    expect(deadPaths(told('see docs/NOWHERE.md, docs/WIRE.md#none and edge/main.ts'))).toEqual([
      'docs/NOWHERE.md',
      'docs/WIRE.md#none',
    ])
    expect(deadBuilds(told('dist/cloud/consumers.d.ts', './dist/cli/tidegate.js'))).toEqual([
      'dist/cloud/consumers.d.ts',
    ])
    expect(deadNames(told('`store-level-folder.ts`, `main.ts`'))).toEqual(['store-level-folder.ts'])
  })
})
