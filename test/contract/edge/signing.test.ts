import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, verify } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { edgeConfigSchema, type EdgeConfig } from '../../../edge/config.ts'
import type { CheckpointSigner } from '../../../edge/outbox/options.ts'
import { checkpointSigner } from '../../../edge/signing.ts'
import type { ClientTls } from '../../../src/settings/client-tls.ts'
import { type ChainHead, verifyCheckpoint } from '../../../src/contract/checkpoint.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidegate-signing-'))
afterAll(() => rmSync(folder, { recursive: true }))

const head: ChainHead = {
  epoch: '01JGFJJZ00TESTTESTTESTTEST',
  sequence: 7,
  chain: 'A'.repeat(43),
  time: '2026-01-01T00:00:00.000Z',
  everyEvents: 10_000,
}

const kinds = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
  PS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  'P-521': () => generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  'RSA of 1024 bits': () => generateKeyPairSync('rsa', { modulusLength: 1024 }),
}

function pemOf(privateKey: KeyObject): string {
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

function config(checkpoints: object = {}): EdgeConfig {
  const file = 'not-read'
  return edgeConfigSchema.parse({
    gateway: 'gateway-1',
    mqtt: { tls: { ca: file, cert: file, key: file } },
    uplink: { url: 'amqp://127.0.0.1', tls: { ca: file, cert: file, key: file } },
    checkpoints,
  })
}

function tlsOf(privateKey: KeyObject): ClientTls {
  return { ca: Buffer.of(), pair: { key: Buffer.from(pemOf(privateKey)) } } as ClientTls
}

test.each(['ES256', 'ES384', 'EdDSA', 'PS256'] as const)(
  'a key of %s signs, and its public key verifies that and nothing else (G8)',
  async (kind) => {
    const { privateKey, publicKey } = kinds[kind]()
    const file = join(folder, kind)
    writeFileSync(file, pemOf(privateKey))
    const signer = checkpointSigner(config({ key: file }), undefined) as CheckpointSigner
    const { algorithm, key } = signer
    expect(algorithm).toBe(kind)
    const checkpoint = { ...head, key, algorithm, signature: await signer.sign('gateway-1', head) }
    expect(verifyCheckpoint('gateway-1', checkpoint, publicKey)).toBe(true)
    expect(verifyCheckpoint('gateway-2', checkpoint, publicKey)).toBe(false)
    expect(verifyCheckpoint('gateway-1', checkpoint, kinds[kind]().publicKey)).toBe(false)
  },
)

test('without a key of its own the gateway signs with that of its uplink certificate, if that signs', () => {
  const { privateKey } = kinds.ES256()
  expect(checkpointSigner(config(), tlsOf(privateKey))).toMatchObject({ algorithm: 'ES256', everyMs: 60_000 })
  expect(checkpointSigner(config(), tlsOf(kinds['P-521']().privateKey))).toBeUndefined()
  expect(checkpointSigner(config(), { ca: Buffer.of() })).toBeUndefined()
})

test.each(['P-521', 'RSA of 1024 bits'] as const)('a key of %s that was named for it is refused', (kind) => {
  const file = join(folder, kind)
  writeFileSync(file, pemOf(kinds[kind]().privateKey))
  expect(() => checkpointSigner(config({ key: file }), undefined)).toThrow(/signs no checkpoints/)
})

test('whoever follows docs/WIRE.md verifies a checkpoint without us (G8)', async () => {
  const { privateKey } = kinds.ES256()
  const signer = checkpointSigner(config(), tlsOf(privateKey)) as CheckpointSigner
  const signature = Buffer.from(await signer.sign('gateway-1', head), 'base64url')
  const lines = ['tidegate checkpoint v1', 'gateway-1', head.epoch, '7', head.chain, head.time, '10000', '-']
  const publicKey = createPublicKey(createPrivateKey(pemOf(privateKey)))
  const key = { key: publicKey, dsaEncoding: 'ieee-p1363' as const }
  expect(signature).toHaveLength(64)
  expect(verify('sha256', Buffer.from(`${lines.join('\n')}\n`), key, signature)).toBe(true)
})
