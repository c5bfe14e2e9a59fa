import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto'
import type { CheckpointSigner } from '../../../edge/outbox/options.ts'
import { statementOf } from '../../../src/contract/checkpoint.ts'
import { fingerprintOf } from '../../../src/contract/signature.ts'

/** PKCS #8 of an Ed25519 key, up to its 32 bytes (RFC 8410). */
const prefix = Buffer.from('302e020100300506032b657004220420', 'hex')

export interface TestSigner extends CheckpointSigner {
  publicKey: KeyObject
}

/** A key made of one byte, which signs at once and the same each time: so that a run can be repeated. */
export function testSigner(byte: number, limits: Partial<CheckpointSigner> = {}): TestSigner {
  const der = Buffer.concat([prefix, Buffer.alloc(32, byte)])
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  return {
    publicKey: createPublicKey(privateKey),
    key: fingerprintOf(privateKey),
    algorithm: 'EdDSA',
    everyEvents: 5,
    everyMs: 60_000,
    sign: async (gateway, head) => sign(null, statementOf(gateway, head), privateKey).toString('base64url'),
    ...limits,
  }
}
