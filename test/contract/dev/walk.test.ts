import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { untilLetter, walkText } from '../../../dev/walk.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'

const page = readFileSync(join(import.meta.dirname, '../../../docs/FAILURES.md'), 'utf8')

test('the commands of the view are those of docs/FAILURES.md', () => {
  const commands = walkText(1, '.tidegate/dev/cloud-1.yaml')
    .split('\n')
    .flatMap((line) => /^ {2}(npx .*?) +#/.exec(line)?.[1] ?? [])
  expect(commands).toHaveLength(7)
  for (const command of commands) expect(page).toContain(command)
})

test('a letter is waited for while there is none and while the database is away, until nobody wants to know', async () => {
  const clock = new FakeClock()
  const answers = [Promise.resolve(undefined), Promise.reject(new Error('away')), Promise.resolve(7)]
  for (const answer of answers) answer.catch(() => undefined)
  const letterToShow = (): Promise<number | undefined> => answers.shift() ?? Promise.resolve(undefined)
  const found = untilLetter({ letterToShow, clock }, new AbortController().signal)
  for (let asked = 0; asked < 3; asked += 1) {
    await settled()
    await clock.advance(500)
  }
  expect(await found).toBe(7)

  const over = new AbortController()
  const never = untilLetter({ letterToShow, clock }, over.signal)
  await settled()
  over.abort()
  expect(await never).toBeUndefined()
})
