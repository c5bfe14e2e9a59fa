import { generateKeyPairSync, sign } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { TidegateError } from '../../../src/errors.ts'
import {
  digestOfFiles,
  openSnapshot,
  signSnapshot,
  type Snapshot,
  snapshotBytesMax,
} from '../../../src/schemas/snapshot.ts'

const ours = generateKeyPairSync('ed25519')
const others = generateKeyPairSync('ed25519')

function snapshotOf(files: Record<string, string | Uint8Array>): Snapshot {
  return {
    revision: 3,
    madeTime: '2026-11-28T00:00:00Z',
    files: new Map(Object.entries(files).map(([path, text]) => [path, Buffer.from(text)])),
  }
}

const climate = snapshotOf({
  'com.acme.climate/2.json': '{"type":"object"}',
  'com.acme.climate/1.json': '\uFEFF{}\r\n',
  'com.acme.climate/upcast/1-2.js': 'export default (data) => data\n',
})

/** An envelope around any payload, soundly signed. */
function envelope(payload: unknown, { key = ours.privateKey, type = payloadType, text = '' } = {}): Buffer {
  const body = Buffer.from(text === '' ? JSON.stringify(payload) : text)
  const statement = Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${body.length} `), body])
  const sig = sign(null, statement, key).toString('base64')
  return Buffer.from(
    JSON.stringify({ payloadType: type, payload: body.toString('base64'), signatures: [{ sig }] }),
  )
}

const payloadType = 'application/vnd.tidegate.schemas+json'
const said = { revision: 1, madeTime: '2026-11-28T00:00:00Z', files: [] as { path: string; text: string }[] }

function faultOf(open: () => unknown): string {
  try {
    open()
  } catch (error) {
    if (error instanceof TidegateError && error.code === 'SCHEMA_SNAPSHOT') return error.message
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('a signed snapshot', () => {
  test('is opened as what was signed, byte by byte, whichever of the keys it was', () => {
    const bytes = signSnapshot(climate, ours.privateKey)
    const opened = openSnapshot(bytes, [others.publicKey, ours.publicKey])
    expect({ revision: opened.revision, madeTime: opened.madeTime }).toEqual({
      revision: 3,
      madeTime: '2026-11-28T00:00:00Z',
    })
    expect([...opened.files].map(([path, text]) => [path, Buffer.from(text).toString('hex')])).toEqual(
      [...climate.files]
        .toSorted(([one], [other]) => (one < other ? -1 : 1))
        .map(([path, text]) => [path, Buffer.from(text).toString('hex')]),
    )
    expect(signSnapshot(opened, ours.privateKey)).toEqual(bytes)
  })

  test('is what others who know DSSE can verify: the statement is the pre-authentication encoding of v1', () => {
    const opened = openSnapshot(envelope(said), [ours.publicKey])
    expect(opened.revision).toBe(1)
  })

  test('is refused wherever one byte of it is another, or its end is missing', () => {
    const bytes = Buffer.from(signSnapshot(climate, ours.privateKey))
    const payload = JSON.parse(bytes.toString()) as { payload: string; signatures: { sig: string }[] }
    const inPayload = bytes.indexOf(payload.payload.slice(0, 40))
    for (let at = inPayload; at < inPayload + payload.payload.length - 4; at += 7) {
      const altered = Buffer.from(bytes)
      altered[at] = altered[at] === 0x41 ? 0x42 : 0x41
      if (altered.equals(bytes)) continue
      expect(faultOf(() => openSnapshot(altered, [ours.publicKey]))).toContain('altered after key')
    }
    for (const length of [0, 1, 100, bytes.length - 3])
      expect(faultOf(() => openSnapshot(bytes.subarray(0, length), [ours.publicKey]))).toContain('is no JSON')
  })

  test('of a key that is not known is refused, and the key named', () => {
    const bytes = signSnapshot(climate, others.privateKey)
    expect(faultOf(() => openSnapshot(bytes, [ours.publicKey]))).toMatch(/not known here \([0-9a-f]{64}\)/)
    expect(faultOf(() => openSnapshot(bytes, []))).toContain('not known here')
  })

  test('is nothing else that the key has signed', () => {
    const other = envelope(said, { type: 'application/vnd.in-toto+json' })
    expect(faultOf(() => openSnapshot(other, [ours.publicKey]))).toContain('application/vnd.in-toto+json')
  })

  test.each([
    ['a path that leads out', { ...said, files: [{ path: '../secret', text: '' }] }],
    ['a path that leads out further down', { ...said, files: [{ path: 'com.acme.a/../b', text: '' }] }],
    ['a path from the root', { ...said, files: [{ path: '/etc/passwd', text: '' }] }],
    ['a path of Windows', { ...said, files: [{ path: 'com.acme.a\\1.json', text: '' }] }],
    ['a file that is named twice', { ...said, files: [file('a.b/1.json'), file('a.b/1.json')] }],
    ['a revision that is none', { ...said, revision: 0 }],
    ['a revision beyond whole numbers', { ...said, revision: 2 ** 53 }],
    ['a time that is none', { ...said, madeTime: 'yesterday' }],
    [
      'more files than are read',
      { ...said, files: Array.from({ length: 10_001 }, (_, at) => file(`a.b/${at}`)) },
    ],
  ])('with %s is refused, though it is signed', (_, payload) => {
    expect(faultOf(() => openSnapshot(envelope(payload), [ours.publicKey]))).toContain('schema snapshot: ')
  })

  test('that is larger than 16 MiB is neither made nor read (G7)', () => {
    const large = snapshotOf({ 'com.acme.climate/1.json': ' '.repeat(snapshotBytesMax) })
    expect(faultOf(() => signSnapshot(large, ours.privateKey))).toContain('are the most')
    const bytes = Buffer.alloc(snapshotBytesMax + 1, ' ')
    expect(faultOf(() => openSnapshot(bytes, [ours.publicKey]))).toContain('are the most')
  })

  test('holds texts in UTF-8 alone', () => {
    const binary = snapshotOf({ 'com.acme.climate/1.json': Buffer.from([0xff, 0xfe]) })
    expect(faultOf(() => signSnapshot(binary, ours.privateKey))).toContain('com.acme.climate/1.json')
  })

  test('is signed by a private key of Ed25519 and by no other', () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    expect(faultOf(() => signSnapshot(climate, rsa.privateKey))).toContain('rsa')
    expect(faultOf(() => signSnapshot(climate, ours.publicKey))).toContain('public')
    expect(faultOf(() => openSnapshot(envelope(said), [rsa.publicKey]))).toContain('not known here')
  })
})

describe('the digest of a state', () => {
  test('is that of its files in whatever order, with line ends of Windows or not, with a lock or none', () => {
    const files = snapshotOf({ 'a.b/1.json': '{\n}', 'a.b/2.json': '{}' }).files
    const other = snapshotOf({ 'a.b/2.json': '{}', 'schemas.lock': 'x', 'a.b/1.json': '{\r\n}' }).files
    expect(digestOfFiles(other)).toBe(digestOfFiles(files))
    expect(digestOfFiles(files)).toMatch(/^[0-9a-f]{64}$/)
  })

  test('is another when a text, a name or the number of files is', () => {
    const digests = [
      { 'a.b/1.json': '{}' },
      { 'a.b/1.json': '{ }' },
      { 'a.b/2.json': '{}' },
      { 'a.b/1.json': '{}', 'a.b/2.json': '{}' },
      {},
    ].map((files) => digestOfFiles(snapshotOf(files).files))
    expect(new Set(digests).size).toBe(5)
  })
})

function file(path: string): { path: string; text: string } {
  return { path, text: '{}' }
}
