import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { howToLook } from '../../../dev/look.ts'
import type { Stack } from '../../../dev/stack/stack.ts'
import { untilLetter, walkText } from '../../../dev/walk.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'

const page = readFileSync(join(import.meta.dirname, '../../../docs/FAILURES.md'), 'utf8')

const commandsIn = (text: string): string[] =>
  text.split('\n').flatMap((line) => /^ {4}(\S.*)$/.exec(line)?.[1] ?? [])

test('the commands of the view are those of docs/FAILURES.md', () => {
  const folder = process.cwd()
  const commands = commandsIn(walkText(1, '.tidegate/dev/cloud-1.yaml'))
  expect(commands).toHaveLength(7)
  for (const command of commands) expect(page).toContain(command.replace(`${folder}/`, ''))
})

test('commands of the view are taken by any shell from any folder: no comment behind them, absolute paths', () => {
  const stack = {
    pki: { devices: [{ commonName: 'visitor', certFile: 'pki/v.pem', keyFile: 'pki/v.key' }] },
    mqtt: { host: '127.0.0.1', port: 8883, caFile: 'pki/ca.pem' },
    databaseUrl: 'postgres://localhost/x?host=/s',
    edgeOps: 'http://127.0.0.1:1',
    cloudOps: ['http://127.0.0.1:2'],
    configFiles: { edge: 'kept/edge.yaml', clouds: ['kept/cloud-1.yaml'] },
    logs: { edge: 'logs/edge.log', clouds: [] },
  } as unknown as Stack
  const look = (hasApi: boolean): string => howToLook({ ...stack, hasApi }, 'visitor') ?? ''
  const all = commandsIn(walkText(1, 'kept/cloud-1.yaml') + look(true))
  expect(all).toContain(`npx tidegate dead groups --config ${resolve('kept/cloud-1.yaml')}`)
  for (const command of all) {
    expect(command.replaceAll(/'[^']*'/g, '')).not.toMatch(/[#?*]/)
    for (const [, path = ''] of command.matchAll(/--(?:config|cert|key) (\S+)/g)) expect(path).toMatch(/^\//)
  }
  // By which it would ask.
  expect(look(false)).not.toContain('npx tidegate dead')
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
