import type { Format } from '../../../src/schemas/formats.ts'
import type { Random } from './random.ts'

const hex = '0123456789abcdef'.split('')

/** Texts of each format that is checked, unlike each other. */
const texts: Readonly<Record<Format, readonly string[]>> = {
  'date-time': ['2024-02-29T12:30:00Z', '1999-12-31T23:59:59.123+02:00', '2026-07-01T00:00:00.5-11:30'],
  date: ['2024-02-29', '1999-12-31', '2026-07-01'],
  time: ['12:30:00Z', '23:59:59.123+02:00', '00:00:00-11:30'],
  duration: ['PT1S', 'P1Y2M3DT4H5M6S', 'P3W', 'P1D'],
  email: ['a@b.example', 'first.last+tag@mail.acme.example'],
  hostname: ['a', 'gateway-7.acme.example', 'localhost'],
  ipv4: ['0.0.0.0', '192.0.2.17', '255.255.255.255'],
  ipv6: ['::1', '2001:db8::8:800:200c:417a', '2001:0db8:0000:0000:0008:0800:200c:417a'],
  uri: ['urn:x:y', 'https://acme.example/a?b=c#d', 'mailto:a@b.example'],
  'uri-reference': ['a', '/a/b?c#d', 'https://acme.example/', ''],
  'uri-template': ['a', '/devices/{id}', 'https://acme.example/{?q,r}'],
  uuid: ['00000000-0000-0000-0000-000000000000', '2f1c7e0a-9d3b-4c58-8a6e-5b7d90f1c234'],
  'json-pointer': ['', '/a/0', '/a~1b/~0'],
  'relative-json-pointer': ['0', '1/a', '2#'],
  regex: ['a', '^[a-z]+$', ''],
}

/** A text of a format; undefined: it is one that nobody checks. */
export function textOfFormat(format: string, random: Random): string | undefined {
  if (format === 'uuid' && random.isLucky(0.5))
    return '8-4-4-4-12'
      .split('-')
      .map((length) => Array.from({ length: Number(length) }, () => random.of(hex)).join(''))
      .join('-')
  return Object.hasOwn(texts, format) ? random.of(texts[format as Format]) : undefined
}
