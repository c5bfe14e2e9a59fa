import { describe, expect, test } from 'vitest'
import { compileVersions, type Validate } from '../../../src/schemas/compiler.ts'
import { checkFormats, type Formats } from '../../../src/schemas/formats.ts'

function compiled(schema: object, formats?: Formats): Validate {
  const { validators, faults } = compileVersions(new Map([[1, schema]]), formats)
  expect([...faults]).toEqual([])
  return validators.get(1) as Validate
}

const messagesOf = (validate: Validate, data: unknown): (string | undefined)[] =>
  validate(data).map(({ message }) => message)

function stepsOf(format: string, text: string): number {
  let steps = 0
  const formats = new Map<string, { validate(text: string): boolean }>()
  const ajv = { addFormat: (name: string, as: never) => formats.set(name, as) }
  checkFormats(ajv as never, { spend: (more: number) => (steps += more) } as never, [])
  formats.get(format)?.validate(text)
  return steps
}

/** Of the standards' own examples where they have some. */
const cases: Record<string, { holds: string[]; fails: string[] }> = {
  'date-time': {
    holds: [
      '1985-04-12T23:20:50.52Z',
      '1996-12-19T16:39:57-08:00',
      '1990-12-31T23:59:60Z',
      '2026-02-28t00:00:00z',
    ],
    fails: ['2026-02-29T00:00:00Z', '1985-04-12T23:20:50', '2026-01-01', '2026-13-01T00:00:00Z', 'today', ''],
  },
  date: { holds: ['2024-02-29'], fails: ['2026-02-29', '2026-2-9', '2026-02-28T00:00:00Z'] },
  time: { holds: ['08:30:06Z', '08:30:06.283185+01:00'], fails: ['08:30:06', '24:00:00Z', '8:30:06Z'] },
  duration: {
    holds: ['P4DT12H30M5S', 'P1Y2M3DT4H5M6S', 'P4Y', 'PT0S', 'PT1H', 'P1M', 'PT1M', 'P7W', 'P1YT1M'],
    fails: ['P', 'PT', 'P1D2H', 'P2W1D', 'P1Y1D', 'PT1H1S', '1D', 'P1', 'P1DT', 'P1.5D'],
  },
  email: {
    holds: ['Joe.Bloggs@example.com', 'te~st@example.org'],
    fails: ['joe', '@example.com', 'a b@c.d'],
  },
  hostname: {
    holds: ['www.Example.com', 'a', 'xn--4gbwdl.xn--wgbh1c', `${'a'.repeat(63)}.com`, '1.2', 'example.com.'],
    fails: ['-a', 'a-', 'a..b', '_tcp', `${'a'.repeat(64)}.com`, `${'a.'.repeat(126)}aa`, '', 'a b'],
  },
  ipv4: { holds: ['192.168.0.1'], fails: ['256.1.1.1', '1.2.3', '01.2.3.4', '0x7f.0.0.1'] },
  ipv6: {
    holds: ['::1', '2001:DB8::ff00:42:8329', '::ffff:192.0.2.1'],
    fails: ['12345::', '1::2::3', '127.0.0.1'],
  },
  uri: {
    holds: [
      'https://example.com/a?b=c#d',
      'urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6',
      'mailto:A@b.c',
      'HTTP://x',
    ],
    fails: ['//example.com', '/a', 'abc', 'http:// x', ':x'],
  },
  'uri-reference': { holds: ['/a/b', '//x', '#f', ''], fails: ['\\\\host\\share', 'a b'] },
  'uri-template': { holds: ['/d/{id}/x{?a,b*}'], fails: ['/d/{id'] },
  uuid: {
    holds: ['2EB8AA08-aa98-11ea-b4aa-73b441d16380'],
    fails: ['2eb8aa08aa9811eab4aa73b441d16380', 'no'],
  },
  'json-pointer': { holds: ['', '/a~1b/0'], fails: ['a', '/~', '/~2'] },
  'relative-json-pointer': { holds: ['1', '0/a', '2#'], fails: ['/a', '-1', '01'] },
  regex: { holds: ['^(a|b)+$', '(?=x)'], fails: ['(', '[z-a]'] },
}

/** Those whose expressions could take an engine that goes back and tries again the square of a text’s length. */
const byPattern = Object.keys(cases).filter(
  (format) => !['date-time', 'date', 'time', 'regex', 'hostname', 'uri'].includes(format),
)

describe('formats', () => {
  test.for(Object.entries(cases))('%s holds and fails as its standard says', ([format, { holds, fails }]) => {
    const validate = compiled({ format })
    for (const text of holds) expect([text, ...messagesOf(validate, text)]).toEqual([text])
    for (const text of fails)
      expect([text, ...messagesOf(validate, text)]).toEqual([text, `must match format "${format}"`])
    expect(messagesOf(validate, 17)).toEqual([])
  })

  test('one that nobody knows is an annotation, and so is each where that is asked for', () => {
    expect(messagesOf(compiled({ format: 'celsius' }), 'no')).toEqual([])
    expect(messagesOf(compiled({ properties: { format: { format: 'x' } } }), { format: 1 })).toEqual([])
    expect(messagesOf(compiled({ format: 'ipv4' }, 'annotation'), 'no')).toEqual([])
  })

  test('is checked in every dialect, and in what a reference leads to', () => {
    for (const draft of [
      'http://json-schema.org/draft-07/schema#',
      'https://json-schema.org/draft/2019-09/schema',
    ])
      expect(compiled({ $schema: draft, format: 'ipv4' })('no')).toHaveLength(1)
    const validate = compiled({ items: { $ref: '#/$defs/at' }, $defs: { at: { format: 'date' } } })
    expect(validate(['2026-02-28', '2026-02-29']).map(({ instancePath }) => instancePath)).toEqual(['/1'])
    expect(compiled({ $ref: 'https://json-schema.org/draft/2020-12/schema' })({ $id: 'a b' })).toHaveLength(1)
  })

  test('a text costs what it is long, by the engine that counts, whatever its format (G7)', () => {
    for (const format of byPattern)
      for (const part of ['a', 'a-', 'P1', '/~0', 'x@a.', '1:', '{a}']) {
        const steps = stepsOf(format, part.repeat(400))
        expect(steps, `${format} of ${part}`).toBeGreaterThan(part.length * 400)
        expect(stepsOf(format, part.repeat(800)), `${format} of ${part}`).toBeLessThan(2.5 * steps + 20_000)
      }
  })
})
