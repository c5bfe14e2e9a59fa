import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from './sources.ts'

/** As Git writes them, and as the formatter of Markdown makes a quotation of them. */
const marks = /^(?:<{7}|>{7}|\|{7}) |^> > > > > > > /m

test('nothing is left of a merge', () => {
  const files = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' }).split('\0')
  const texts = files.filter((file) => /\.(?:ts|js|md|json|ya?ml|sql|css|html)$/.test(file))
  expect(texts.length).toBeGreaterThan(500)
  const left = texts.filter((file) => marks.test(readFileSync(join(root, file), 'utf8')))
  expect(left).toEqual([])
})
