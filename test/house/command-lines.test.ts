import { expect, test } from 'vitest'
import { sourcesIn } from './sources.ts'

/** What commander shows in angle brackets where a value is free text: what it names is looked for, or it is judged by who takes it. */
const freeTexts = [
  'file',
  'folder',
  'address',
  'dir',
  'url',
  'name',
  'id',
  'source',
  'type',
  'lane',
  'names...',
  'text',
  'hosts...',
  'addresses...',
  'files...',
  'fingerprint...',
]
/** Programs that only our own tests and benchmarks start, with what they know already. */
const started = [
  'test/support/programs/',
  'bench/subjects/bare-aedes.ts',
  'test/proof/worker.ts',
  'test/proof/flip-worker.ts',
  'test/proof/upgrade-worker.ts',
  'test/proof/projections-worker.ts',
]

const sources = ['cli', 'edge', 'cloud', 'certs', 'dev', 'src', 'bench', 'test'].flatMap(sourcesIn)

/** Options whose value is taken as it comes. */
function unread({ path, text }: { path: string; text: string }): string[] {
  return optionsOf(text)
    .filter(
      ({ kind, statement }) => kind !== undefined && !freeTexts.includes(kind) && !reads.test(statement),
    )
    .map(({ flags }) => `${path}: ${flags}`)
}

const reads = /\b(wholeNumber|positiveNumber|durationOf|listOf)\(|\b(\w+Of|targets)\b|\.choices\(/

/** Every option that a text makes, with what follows it up to the next. */
function optionsOf(text: string): { flags: string; kind: string | undefined; statement: string }[] {
  const parts = text.split(/(?:\.(?:requiredO|o)ption|new Option)\(\s*(?=['"`]-)/).slice(1)
  return parts.map((part) => {
    const [, , flags = ''] = /^(['"`])(.*?)\1/.exec(part) ?? []
    const [, kind] = /[<[](.+)[>\]]/.exec(flags) ?? []
    const [statement = ''] = part.split(/\n\s*\.(?:action|parse|command|addHelpText)\(/)
    return { flags, kind, statement }
  })
}

test('every value on a command line that is no free text has a reader', () => {
  const programs = sources.filter(({ path }) => !path.startsWith('test/house/'))
  expect(programs.flatMap(({ text }) => optionsOf(text)).length).toBeGreaterThan(60)
  expect(programs.flatMap(unread)).toEqual([])
})

test('and one without a reader is found', () => {
  const text = `program.option('--seeds <count>', 'how many runs', '1000')\n  .option('--from <number>', 'x', wholeNumber())\n`
  expect(unread({ path: 'a.ts', text })).toEqual(['a.ts: --seeds <count>'])
})

test('no program takes a command line apart by itself', () => {
  const strays = sources
    .filter(({ path }) => !started.some((own) => path.startsWith(own)))
    .filter(({ path }) => !['cli/tidegate.ts', 'test/house/command-lines.test.ts'].includes(path))
    .filter(({ text }) => /\bparseArgs\b|process\.argv/.test(text))
    .map(({ path }) => path)
  expect(strays).toEqual([])
})
