import { EventEmitter } from 'node:events'
import { beforeEach, expect, test } from 'vitest'
import { createQuit, unless, type Quit } from '../../../dev/quit.ts'
import { unfinished } from '../../../dev/report/unfinished.ts'
import { createBook } from '../../../dev/fleet/book.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'

let clock: FakeClock
let signals: EventEmitter
let gone: AbortController
let quit: Quit

beforeEach(() => {
  clock = new FakeClock()
  signals = new EventEmitter()
  gone = new AbortController()
  const on = signals.on.bind(signals) as NodeJS.Process['on']
  quit = createQuit({ process: { on }, gone: gone.signal, clock })
})

test.each(['SIGINT', 'SIGTERM'])('%s asks for the end, and a second one insists on it', async (name) => {
  signals.emit(name)
  expect([quit.asked.aborted, quit.insisted.aborted]).toEqual([true, false])
  await clock.advance(1000)
  signals.emit(name)
  expect(quit.insisted.aborted).toBe(true)
})

test('one Ctrl-C that comes twice, from the terminal and from npm, asks once', async () => {
  signals.emit('SIGINT')
  await clock.advance(20)
  signals.emit('SIGINT')
  expect(quit.insisted.aborted).toBe(false)
})

test('a starter that is gone asks, and a key after that insists', async () => {
  gone.abort()
  await settled()
  expect(quit.asked.aborted).toBe(true)
  await clock.advance(1000)
  quit.ask()
  expect(quit.insisted.aborted).toBe(true)
})

test('work that takes no notice of the signal is not waited for, and its own failures are told', async () => {
  const giveUp = new AbortController()
  const deaf = unless(giveUp.signal, new Promise(() => {}))
  giveUp.abort()
  expect(await deaf).toBeUndefined()
  const broken = new Error('broken')
  await expect(unless(new AbortController().signal, Promise.reject(broken))).rejects.toBe(broken)
})

test('who gives up is told what was not awaited', () => {
  const book = createBook()
  for (let n = 1; n <= 3; n += 1) {
    const message = { topic: '', payload: '', fate: 'stored' as const, n }
    book.published('sensor-001', message)
    if (n > 1) book.acknowledged('sensor-001', message, 5)
  }
  expect(unfinished(book.totals(), undefined)).toMatch(
    /: 1 PUBACK, 2 acknowledged events that the history does not show yet, the audit\./,
  )
})
