import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { programFile } from '../../support/program.ts'

/** Generous: two cores may be busy with other tests. The log itself waits for two seconds. */
const soonMs = 12_000

async function run(read: boolean, ...args: string[]): Promise<{ code: number | null; lines: string[] }> {
  const child = spawn(process.execPath, [programFile('unread-log'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  if (read) child.stdout.setEncoding('utf8').on('data', (piece: string) => (text += piece))
  const [code] = (await once(child, read ? 'close' : 'exit', { signal: AbortSignal.timeout(soonMs) })) as [
    number | null,
  ]
  child.stdout.destroy()
  return { code, lines: text.split('\n').filter((line) => line !== '') }
}

test('a log that nobody reads does not hold up the end of its program', async () => {
  expect(await run(false)).toMatchObject({ code: 3 })
})

test('nor an end in the middle of it', async () => {
  expect(await run(false, 'exit')).toMatchObject({ code: 7 })
})

test('a log that is read is written to its last line', async () => {
  const { code, lines } = await run(true)
  expect(code).toBe(3)
  expect(lines).toHaveLength(2000)
  expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({
    line: 1999,
    level: 'info',
    side: 'edge',
    name: 'unread',
  })
})
