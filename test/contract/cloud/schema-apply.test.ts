import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDatabase as poolOf, type Database } from '../../../cloud/database/database-postgres.ts'
import { readRevisions, readSnapshot, readState } from '../../../cloud/registry/registry-postgres.ts'
import { registerSchemaCommand } from '../../../cloud/schemas/command.ts'
import { openSnapshot } from '../../../src/schemas/snapshot.ts'
import { useFolder } from '../../support/kept-folder.ts'
import { createReadyDatabase, urlAs } from '../../support/servers.ts'

const root = useFolder('tidegate-apply-')
let url: string
let database: Database
let folder: string
beforeEach(async () => {
  url = urlAs('writer', await createReadyDatabase())
  database = poolOf({ url, poolMax: 2, applicationName: 'test' })
  folder = mkdtempSync(join(root, 'schemas-'))
})
afterEach(() => database.close())

function write(files: Readonly<Record<string, unknown>>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
  }
}

/** What it prints and ends with. */
async function schema(...words: string[]): Promise<{ text: string; code: number }> {
  const lines: string[] = []
  let code = 0
  const program = new Command('tidegate').exitOverride()
  registerSchemaCommand(program, {
    say: (text) => lines.push(text),
    onFound: () => (code = 1),
    until: () => new AbortController().signal,
  })
  await program.parseAsync(['schema', ...words, '--folder', folder, '--database', url], { from: 'user' })
  return { text: lines.join('\n'), code }
}

const query = (): Parameters<typeof readState>[0] => database.query.bind(database)
const temperature = (maximum: number): object => ({
  properties: { temperature: { type: 'number', maximum } },
})

test('a folder is published, with what was done and who did it; again there is nothing to do', async () => {
  write({ 'com.acme.climate/1.json': temperature(100), 'com.acme.climate/type.yaml': 'owner: facilities\n' })
  const look = await schema('apply', '--dry-run')
  expect(look.text).toContain('would be revision 1')
  expect((await readState(query())).revision).toBe(0)
  expect(await schema('apply', '--reason', 'rooms')).toEqual({
    text: expect.stringMatching(
      /NEW {8}com\.acme\.climate\/1\.json[\s\S]*fine: 1 event type,[\s\S]*the registry is at revision 1, [0-9a-f]{12}$/,
    ) as string,
    code: 0,
  })
  expect(await schema('apply', '--reason', 'rooms')).toEqual({
    text: 'nothing to publish: revision 1 has it all\nnothing was done',
    code: 0,
  })
  expect(await readRevisions(query(), 9)).toMatchObject([
    { revision: 1, reason: 'rooms', actor: expect.stringMatching(/^local:/) as string },
  ])
})

test('a version that breaks what is published is not, though the folder lacks that: the registry has a say', async () => {
  write({ 'com.acme.climate/1.json': temperature(100) })
  await schema('apply', '--reason', 'rooms')
  folder = mkdtempSync(join(root, 'other-'))
  write({ 'com.acme.climate/2.json': temperature(50) })
  const { text, code } = await schema('apply', '--reason', 'cooler')
  expect(text).toMatch(/STAYS {6}com\.acme\.climate\/1\.json/)
  expect(text).toMatch(/BREAKS {5}maximum at \/temperature/)
  expect(text).toContain('not published: the registry stays at revision 1')
  expect(code).toBe(1)
})

test('a snapshot is signed with a key that stays here', async () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const file = join(folder, '..', 'registry.key')
  writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  write({ 'com.acme.climate/1.json': temperature(100) })
  expect((await schema('apply', '--reason', 'rooms', '--key', file)).text).toContain('its snapshot is signed')
  const found = await readSnapshot(query())
  expect(openSnapshot(found?.bytes as Uint8Array, [publicKey])).toMatchObject({ revision: 1 })
  expect((await database.query('select from tidegate.schema_snapshots')).length).toBe(1)
  expect((await schema('apply', '--reason', 'rooms', '--key', file)).code).toBe(0)
  expect((await database.query('select from tidegate.schema_snapshots')).length).toBe(1)
})

test('what is not in the lock yet, or not as it says, goes nowhere', async () => {
  write({ 'com.acme.climate/1.json': temperature(100), 'schemas.lock': '' })
  await expect(schema('apply', '--reason', 'rooms')).rejects.toMatchObject({
    code: 'SCHEMA_FOLDER',
    message: expect.stringContaining('com.acme.climate/1.json: is not in schemas.lock yet') as string,
  })
})

test('the registry is listed beside the folder', async () => {
  write({ 'com.acme.climate/1.json': temperature(100), 'com.acme.energy/1.json': {} })
  await schema('apply', '--reason', 'rooms')
  folder = mkdtempSync(join(root, 'beside-'))
  write({ 'com.acme.climate/1.json': temperature(120), 'com.acme.climate/2.json': temperature(200) })
  expect((await schema('list')).text.split('\n').slice(1)).toEqual([
    'com.acme.climate  1',
    '  com.acme.climate/1.json  is published with another text',
    '  com.acme.climate/2.json  in the folder alone: tidegate schema apply',
    'com.acme.energy  1',
    '  com.acme.energy/1.json  in the registry alone',
  ])
})
