import { describe, expect, test } from 'vitest'
import { countedOf, letterOf, replayOf } from '../../../cloud/replays/replayed.ts'
import { headers as names, wire } from '../../../src/contract/wire.ts'

const headers = { [names.replay]: 3, [names.generation]: '2026-fix' }

describe('what a message says of being replayed', () => {
  test('is believed of the default exchange alone: a gateway cannot have its event processed once more (G9)', () => {
    expect(replayOf({ exchange: '', headers })).toEqual({ of: 'history', replay: 3, generation: '2026-fix' })
    expect(replayOf({ exchange: wire.exchange, headers })).toBeUndefined()
    expect(countedOf({ exchange: wire.exchange, headers })).toBeUndefined()
  })

  test('is one of a letter where it has its number, and is counted where it is out of history', () => {
    const ofLetter = { ...headers, [names.letter]: 7 }
    expect(letterOf({ exchange: '', headers: ofLetter })).toEqual({ letter: 7, replay: 3 })
    expect(replayOf({ exchange: '', headers: ofLetter })).toMatchObject({
      of: 'letter',
      generation: '2026-fix',
    })
    expect(countedOf({ exchange: '', headers: ofLetter })).toBeUndefined()
    expect(countedOf({ exchange: '', headers })).toBe(3)
  })

  test('without a number there is none, and what is no name is no generation', () => {
    expect(replayOf({ exchange: '', headers: { [names.generation]: 'g' } })).toBeUndefined()
    for (const generation of ['', 'two words', 'a\nb', 'x'.repeat(65), 7])
      expect(
        replayOf({ exchange: '', headers: { ...headers, [names.generation]: generation } })?.generation,
      ).toBeUndefined()
    const first = { [names.replay]: 0 }
    expect(replayOf({ exchange: '', headers: first })).toEqual({
      of: 'history',
      replay: 0,
      generation: undefined,
    })
    expect(countedOf({ exchange: '', headers: first })).toBeUndefined()
  })
})
