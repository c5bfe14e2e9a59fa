import type { KeyObject } from 'node:crypto'
import { expect, test } from 'vitest'
import { algorithmOf } from '../../../src/contract/signature.ts'

function rsa(modulusLength: number): ReturnType<typeof algorithmOf> {
  return algorithmOf({ asymmetricKeyType: 'rsa', asymmetricKeyDetails: { modulusLength } } as KeyObject)
}

test('an RSA key signs if its signature is one that is read, from 2048 bits to 8192', () => {
  expect([2047, 2048, 8192, 8193].map(rsa)).toEqual([undefined, 'PS256', 'PS256', undefined])
})
