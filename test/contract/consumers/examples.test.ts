import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { eventsFileOf } from '../../../cloud/typing/events-file.ts'
import { compiled } from '../../support/compiled-examples.ts'

const documents = ['README.md', 'docs/CONSUMERS.md', 'docs/PROJECTIONS.md']

/** The examples of a document, each in a folder of its own unless it names its file. */
function examplesIn(document: string): [string, string][] {
  const blocks = [...readFileSync(document, 'utf8').matchAll(/^```ts\n([\s\S]*?)^```/gm)]
  return blocks.map(([, text = ''], index) => {
    const name = /^\/\/ (\S+\.ts)$/m.exec(text)?.[1]
    return [name === undefined ? `${document}/${index}/example.ts` : `${document}/${name}`, text]
  })
}

test('every example in TypeScript of the documents compiles, with the types of the schemas', () => {
  const examples = documents.flatMap(examplesIn)
  expect(examples.length).toBeGreaterThanOrEqual(5)
  const files = { ...Object.fromEntries(examples), 'tidegate-events.d.ts': eventsFileOf('schemas').text }
  expect(compiled(files)).toBe('')
}, 120_000)

test('a consumer with its test has under 30 lines in the document', () => {
  const [, consumer = ''] =
    examplesIn('docs/CONSUMERS.md').find(([name]) => name.endsWith('/alerts.ts')) ?? []
  const [, tested = ''] =
    examplesIn('docs/CONSUMERS.md').find(([name]) => name.endsWith('/alerts.test.ts')) ?? []
  const lines = `${consumer}${tested}`.split('\n').filter((line) => line !== '')
  expect(lines.length).toBeGreaterThan(15)
  expect(lines.length).toBeLessThan(30)
})
