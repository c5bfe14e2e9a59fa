import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { folderOrigin } from '../../../cloud/reading/origin.ts'
import { registryOrigin } from '../../../cloud/reading/origin-postgres.ts'
import { digestOfFiles } from '../../../src/schemas/snapshot.ts'
import { useFolder } from '../../support/kept-folder.ts'

const root = useFolder('tidegate-origins-')

function write(folder: string, path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), text)
}

test('a folder is read again when what was written into it lies still, and only then; notes change nothing', async () => {
  const folder = mkdtempSync(join(root, 'schemas-'))
  write(folder, 'com.acme.climate/1.json', '{}')
  const origin = folderOrigin(folder)
  expect((await origin.read()).source.files.size).toBe(1)
  expect(await origin.look()).toBeUndefined()
  write(folder, 'com.acme.climate/2.json', '{ "typ')
  expect(await origin.look()).toBeUndefined()
  write(folder, 'com.acme.climate/2.json', '{ "type": "object" }')
  expect(await origin.look()).toBeUndefined()
  const found = await origin.look()
  expect(Buffer.from(found?.source.files.get('com.acme.climate/2.json') ?? []).toString()).toBe(
    '{ "type": "object" }',
  )
  expect(await origin.look()).toBeUndefined()
  write(folder, 'com.acme.climate/README.md', 'a note')
  expect([await origin.look(), await origin.look()]).toEqual([undefined, undefined])
})

test('a folder that is gone is told, once it stays away', async () => {
  const folder = mkdtempSync(join(root, 'schemas-'))
  write(folder, 'com.acme.climate/1.json', '{}')
  const origin = folderOrigin(folder)
  await origin.read()
  rmSync(folder, { recursive: true })
  expect(await origin.look()).toBeUndefined()
  for (let look = 0; look < 2; look++)
    await expect(origin.look()).rejects.toMatchObject({ code: 'SCHEMA_FOLDER' })
  write(folder, 'com.acme.climate/1.json', '{}')
  await origin.look()
  expect(await origin.look()).toBeDefined()
  expect(await origin.look()).toBeUndefined()
  // For whoever could not use it then.
  expect(await origin.look(true)).toBeDefined()
})

test('a registry is read when its revision is another; one that went back is told and read once, until it has again what was published', async () => {
  const one = { path: 'com.acme.climate/1.json', bytes: Buffer.from('{}') }
  const two = { path: 'com.acme.climate/2.json', bytes: Buffer.from('{}') }
  let files = [one]
  const digestNow = (): string => digestOfFiles(new Map(files.map(({ path, bytes }) => [path, bytes])))
  let digest = digestNow()
  let revision = 2
  let reads = 0
  const query = async (text: string): Promise<object[]> => {
    if (!text.includes('schema_files')) return [{ revision, digest }]
    reads += 1
    return files.map((file) => ({ revision, digest, ...file }))
  }
  const origin = registryOrigin({ database: { query } as never })
  expect(await origin.read()).toMatchObject({ revision: 2, digest })
  expect(await origin.look()).toBeUndefined()
  const be = (to: number, ...now: (typeof one)[]): void => {
    revision = to
    files = now
    digest = digestNow()
  }
  be(3, one, two)
  expect(await origin.look()).toMatchObject({ revision: 3 })
  expect(await origin.look(true)).toMatchObject({ revision: 3 })
  expect(reads).toBe(2)
  be(1, one)
  for (let look = 0; look < 2; look++)
    await expect(origin.look()).rejects.toMatchObject({ code: 'SCHEMA_REGISTRY' })
  expect(reads).toBe(3)
  be(2, one, { ...two, bytes: Buffer.from('{ "type": "object" }') })
  await expect(origin.look()).rejects.toMatchObject({ code: 'SCHEMA_REGISTRY' })
  be(2, one, two)
  expect(await origin.look()).toMatchObject({ revision: 2 })
  expect(await origin.look()).toBeUndefined()
})
