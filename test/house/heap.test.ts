import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { heapFlags } from '../../src/settings/heap.ts'

const textOf = (path: string): Promise<string> => readFile(new URL(`../../${path}`, import.meta.url), 'utf8')

test('the command, the unit and the image start with the same heap', async () => {
  const flags = heapFlags.join(' ')
  const [firstLine] = (await textOf('cli/tidegate.ts')).split('\n')
  expect(firstLine).toBe(`#!/usr/bin/env -S node ${flags}`)
  expect(await textOf('Dockerfile')).toContain(`ENV NODE_OPTIONS=${flags}\n`)
  expect(await textOf('docs/OPERATIONS.md')).toContain(`Environment=NODE_OPTIONS=${flags}\n`)
})
