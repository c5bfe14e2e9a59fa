import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { TidegateError } from '../../../src/errors.ts'
import {
  loadSnapshotKeys,
  loadSnapshotSigner,
  openSnapshot,
  signSnapshot,
  type Snapshot,
} from '../../../src/schemas/snapshot.ts'

const ours = generateKeyPairSync('ed25519')
const others = generateKeyPairSync('ed25519')
const climate: Snapshot = {
  revision: 3,
  madeTime: '2026-11-28T00:00:00Z',
  files: new Map([['com.acme.climate/1.json', Buffer.from('{}')]]),
}

function faultOf(open: () => unknown): string {
  try {
    open()
  } catch (error) {
    if (error instanceof TidegateError && error.code === 'SCHEMA_SNAPSHOT') return error.message
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('keys of snapshots', () => {
  test('are read as openssl writes them, several in one file', () => {
    const folder = kept()
    writeFileSync(join(folder, 'key.pem'), pem(ours.privateKey))
    writeFileSync(join(folder, 'both.pem'), pem(others.publicKey) + pem(ours.publicKey))
    const signer = loadSnapshotSigner(join(folder, 'key.pem'))
    const keys = loadSnapshotKeys([join(folder, 'both.pem')])
    expect(keys.map(({ type }) => type)).toEqual(['public', 'public'])
    expect(openSnapshot(signSnapshot(climate, signer), keys).revision).toBe(3)
  })

  test('of another kind, and the private one in the place of the public, are told', () => {
    const folder = kept()
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    writeFileSync(join(folder, 'rsa.pem'), pem(rsa.privateKey))
    writeFileSync(join(folder, 'rsa-public.pem'), pem(rsa.publicKey))
    writeFileSync(join(folder, 'key.pem'), pem(ours.privateKey))
    writeFileSync(join(folder, 'cut.pem'), pem(ours.publicKey).replace(/^M.{8}/m, 'M'))
    expect(faultOf(() => loadSnapshotSigner(join(folder, 'rsa.pem')))).toContain('rsa')
    expect(faultOf(() => loadSnapshotKeys([join(folder, 'rsa-public.pem')]))).toContain('rsa')
    expect(faultOf(() => loadSnapshotKeys([join(folder, 'key.pem')]))).toContain('a private key')
    expect(faultOf(() => loadSnapshotKeys([join(folder, 'cut.pem')]))).toContain('damaged')
  })

  test('a private key verifies what it has signed', () => {
    const bytes = signSnapshot(climate, ours.privateKey)
    expect(openSnapshot(bytes, [ours.privateKey]).revision).toBe(3)
    expect(createPublicKey(ours.privateKey).equals(ours.publicKey)).toBe(true)
  })
})

function pem(key: KeyObject): string {
  return String(key.export({ format: 'pem', type: key.type === 'public' ? 'spki' : 'pkcs8' }))
}

function kept(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-keys-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
