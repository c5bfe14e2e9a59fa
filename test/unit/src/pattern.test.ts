import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compilePattern } from '../../../src/schemas/pattern.ts'

const free = (): void => {}

const one = fc.constantFrom(
  ...'a,b,_,-,.,é,😀,\\s,\\S,\\w,\\W,\\d,\\D,\\.,\\x61,\\u0061,\\u{1F600},\\uD83D\\uDE00,\\uD83D,\\p{L},\\P{Lu},\\n,\\cJ,\\0,[ab],[^a],[\\s\\]_-],[^],[],[a-c\\u{1F600}],[\\w-]'.split(
    ',',
  ),
)
const quantifier = fc.constantFrom('', '', '*', '+', '?', '*?', '{2}', '{1,3}', '{0,2}?', '{2,}', '{0}')
const { pattern: anyPattern } = fc.letrec<{ pattern: string; piece: string }>((tie) => ({
  piece: fc.oneof(
    { maxDepth: 3 },
    fc.tuple(one, quantifier).map((parts) => parts.join('')),
    fc.constantFrom('^', '$', '\\b', '\\B'),
    fc.tuple(fc.constantFrom('', '?:', '?<n>'), tie('pattern'), quantifier).map(([kind, inner, times]) => {
      // A name may be given once.
      const unnamed = inner.replaceAll('?<n>', '')
      return `(${kind}${unnamed})${times}`
    }),
  ),
  pattern: fc
    .array(fc.array(tie('piece'), { maxLength: 4 }), { minLength: 1, maxLength: 3 })
    .map((options) => options.map((pieces) => pieces.join('')).join('|')),
}))
const text = fc
  .array(
    fc.constantFrom(...'aaabbcd_- .1\n\r\u2028\u00a0\v\u0000é😀'.match(/./gsu)!, '\ud83d', '\ude00', 'A'),
    {
      maxLength: 9,
    },
  )
  .map((characters) => characters.join(''))

describe('a pattern', () => {
  test('matches what the engine’s own matches, and nothing else', () => {
    fc.assert(
      fc.property(anyPattern, fc.array(text, { minLength: 1, maxLength: 6 }), (source, texts) => {
        const named = source.replaceAll('?<n>', (_, at: number) =>
          at === source.indexOf('?<n>') ? '?<n>' : '',
        )
        let native: RegExp
        try {
          native = new RegExp(named, 'u')
        } catch {
          return
        }
        const pattern = compilePattern(named, free)
        // V8 finds \B between the halves of a pair, where ECMA-262 has no place.
        const isApart = (one: string): boolean => named.includes('\\B') && /[^\0-\uffff]/u.test(one)
        for (const one of texts.filter((each) => !isApart(each)))
          expect([one, pattern.test(one)]).toEqual([one, native.test(one)])
      }),
      { numRuns: 400 },
    )
  })

  test.for([
    ['^(a+)+$', 'a', '!'],
    ['^(a|a)*$', 'a', '!'],
    [
      '^([a-zA-Z0-9])(([\\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+[.]{1}(([a-z]{2,3})|([a-z]{2,3}[.]{1}[a-z]{2,3}))$',
      'a',
      '!',
    ],
    ['(.*a){20}x', 'ab', ''],
    ['^(.*),(.*),(.*);$', ',', '!'],
  ])(
    'takes work linear in the text, and the same whether or not it was seen before: %s (G7)',
    ([source, unit, end]) => {
      let steps = 0
      const pattern = compilePattern(source as string, (count) => (steps += count))
      const workOf = (times: number): number => {
        steps = 0
        expect(pattern.test((unit as string).repeat(times) + (end as string))).toBe(false)
        return steps
      }
      const work = [1000, 2000, 3000, 200_000].map(workOf)
      expect(work[2]! - work[1]!).toBe(work[1]! - work[0]!)
      expect(work[3]! - work[0]!).toBe((work[1]! - work[0]!) * 199)
      expect(workOf(1000)).toBe(work[0])
    },
  )

  test('what it remembers is bounded, and what it forgets costs no answer (G7)', () => {
    const pattern = compilePattern('^(?:a|b)*a(?:a|b){14}c$', free)
    let random = 1
    const letters = Array.from({ length: 60_000 }, () => {
      random = (random * 1_103_515_245 + 12_345) % 2_147_483_648
      return random % 65_536 > 32_768 ? 'a' : 'b'
    }).join('')
    expect(pattern.test(`${letters}c`)).toBe(letters.at(-15) === 'a')
    expect(pattern.test(`${letters}a${'b'.repeat(14)}c`)).toBe(true)
    expect(pattern.test(`${letters}b${'b'.repeat(14)}c`)).toBe(false)
    const everything = Array.from({ length: 20_000 }, (_, at) => String.fromCodePoint(at + 200)).join('')
    expect(compilePattern('^[^a]*$', free).test(everything)).toBe(true)
  })

  test('what it spends may end the test', () => {
    const stop = new Error('enough')
    const pattern = compilePattern('^(a+)+$', () => {
      throw stop
    })
    expect(() => pattern.test('a'.repeat(100_000))).toThrow(stop)
  })

  test.for([
    ['^(?=a)', 'look-around, (?=…)'],
    ['(?<!a)b', 'look-around, (?<!…)'],
    ['(a)\\1', 'the back-reference \\1'],
    ['(?<n>a)\\k<n>', 'the back-reference \\k<n>'],
    ['x{20000}', 'repeats too much'],
    ['(x{200}){200}', 'repeats too much'],
    ['(?:){1000000000}', 'repeats too much'],
    ['(', 'Invalid regular expression'],
    ['\\-', 'Invalid'],
  ])('is refused if it is none, or needs more: %s', ([source, fault]) => {
    expect(() => compilePattern(source as string, free)).toThrow(fault)
  })
})
