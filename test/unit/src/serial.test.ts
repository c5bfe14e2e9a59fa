import { expect, test } from 'vitest'
import { plainSerial } from '../../../src/contract/serial.ts'

test('a serial number is the same however it is spelt', () => {
  for (const spelt of ['4AFF', '4aff', '4a:ff', '00:4A:FF', '0004aff'])
    expect(plainSerial(spelt)).toBe('4AFF')
  for (const zero of ['0', '00', '0000']) expect(plainSerial(zero)).toBe('0')
})

/** As OpenSSL and Node say it, and the bytes that stand in a list. */
test.each([
  ['-01', 'ff'],
  ['-0B', 'f5'],
  ['-80', '80'],
  ['-81', 'ff7f'],
  ['-0100', 'ff00'],
  ['-8000', '8000'],
  ['-0A0B', 'f5f5'],
  ['F5', '00f5'],
])('a certificate that OpenSSL calls %s is found as the %s of a list', (said, listed) => {
  expect(plainSerial(said)).toBe(plainSerial(listed))
})

test('two numbers that differ are told apart', () => {
  const spelt = ['0', '1', '0B', 'F5', 'FF', '0100', 'FF00', '8000', '-8001', '-0100FF']
  expect(new Set(spelt.map(plainSerial)).size).toBe(spelt.length)
})
