import { sourcesIn } from './sources.ts'

/** A test or a suite, as its file writes it: with `%s` and `${…}` where a table or a loop fills something in. */
export interface Title {
  /** `test/contract/edge/outbox.test.ts` */
  file: string
  kind: 'test' | 'suite'
  title: string
  /** The suites around it, then itself: what `vitest run -t` looks at. */
  full: string
}

/** `G1` … of the guarantees and `I1` … of the outbox's invariants that a title carries: "(G1, I3, seed 7)". */
export function numbersIn(title: string): string[] {
  const lists = title.matchAll(/\(([^()]*)\)/g)
  return [...lists].flatMap(([, list = '']) => list.split(', ').filter((one) => /^[GI]\d$/.test(one)))
}

/** Every suite and test under `test/`, by reading the files. */
export function allTitles(): Title[] {
  return sourcesIn('test')
    .filter(({ path }) => path.endsWith('.test.ts'))
    .flatMap(({ path, text }) => titlesOf(path, text))
}

export function titlesOf(file: string, text: string): Title[] {
  const calls = /^( *)(?:for \([^\n]*\) )?(test|describe)(?:\.(each|for))?\b/gm
  const suites: { indent: number; title: string }[] = []
  const titles: Title[] = []
  for (const call of text.matchAll(calls)) {
    const [, spaces = '', kind, table] = call
    const indent = spaces.length
    let at = afterGenerics(text, call.index + call[0].length)
    if (table !== undefined) at = skipSpace(text, closing(text, at) + 1)
    const title = text[at] === '(' ? literalAt(text, skipSpace(text, at + 1)) : undefined
    if (title === undefined) continue
    while (suites.length > 0 && (suites.at(-1)?.indent ?? 0) >= indent) suites.pop()
    const full = [...suites.map((suite) => suite.title), title].join(' ')
    titles.push({ file, kind: kind === 'describe' ? 'suite' : 'test', title, full })
    if (kind === 'describe') suites.push({ indent, title })
  }
  return titles
}

/** `test.each<[string, (event: Event) => string]>([` → where its bracket opens. */
function afterGenerics(text: string, from: number): number {
  return text[from] === '<' ? from + text.slice(from).search(/>\(\s*\[/) + 1 : text.indexOf('(', from)
}

function skipSpace(text: string, from: number): number {
  let at = from
  while (/\s/.test(text[at] ?? '')) at += 1
  return at
}

/** The string that begins at a place, without its quotes and the backslashes of quotes in it. */
function literalAt(text: string, from: number): string | undefined {
  const quote = text[from] ?? ''
  if (!`'"\``.includes(quote)) return undefined
  return text.slice(from + 1, endOfLiteral(text, from)).replaceAll(/\\(['"`])/g, '$1')
}

function endOfLiteral(text: string, from: number): number {
  let at = from + 1
  while (at < text.length && text[at] !== text[from]) at += text[at] === '\\' ? 2 : 1
  return at
}

/** Where the bracket that opens at a place is closed. */
function closing(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; at += 1) {
    const sign = text[at] as string
    if (`'"\``.includes(sign)) at = endOfLiteral(text, at)
    else if (sign === '/' && text[at + 1] === '/') at = text.indexOf('\n', at)
    else if ('([{'.includes(sign)) depth += 1
    else if (')]}'.includes(sign)) depth -= 1
    if (depth === 0) return at
  }
  return text.length
}
