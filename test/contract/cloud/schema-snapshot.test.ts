import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { execFileSync } from 'node:child_process'
import { expect, onTestFinished, test } from 'vitest'
import { registerSchemaCommand } from '../../../cloud/schemas/command.ts'
import { climate, schemaFiles, schemaPlace } from '../../support/edge/signed-schemas.ts'

async function schema(...words: string[]): Promise<string> {
  const lines: string[] = []
  const program = new Command('tidegate')
    .exitOverride()
    .configureOutput({ writeErr: (text) => lines.push(text), writeOut: (text) => lines.push(text) })
  registerSchemaCommand(program, { say: (text) => lines.push(text), onFound: () => {} })
  await program.parseAsync(['schema', ...words], { from: 'user' })
  return lines.join('\n')
}

function withFolder() {
  const place = schemaPlace()
  for (const [name, text] of schemaFiles({ 1: 100 })) place.write(`schemas/${name}`, text)
  const signer = place.signer('registry')
  const out = place.at('schemas.snapshot')
  const make = (...more: string[]): Promise<string> =>
    schema('snapshot', '--folder', place.at('schemas'), '--key', signer.privateFile, '--out', out, ...more)
  const verified = async (): Promise<{ revision: number; types: string[]; digest: string }> =>
    JSON.parse(await schema('verify', out, '--keys', signer.publicFile, '--json')) as {
      revision: number
      types: string[]
      digest: string
    }
  return { place, signer, out, make, verified }
}

test('a folder is signed, verified, and signed again only when something is another', async () => {
  const { place, out, make, verified } = withFolder()
  expect(await make()).toContain('signed: revision 1')
  expect(await verified()).toMatchObject({ revision: 1, types: [climate], files: 1 })
  const first = readFileSync(out)
  expect(await make()).toContain('nothing to do')
  expect(readFileSync(out)).toEqual(first)
  place.write(`schemas/${climate}/type.yaml`, 'owner: facilities\n')
  expect(JSON.parse(await make('--json'))).toMatchObject({ revision: 2, isNew: true, files: 2 })
  expect(await make('--revision', '40')).toContain('revision 40')
  expect(await verified()).toMatchObject({ revision: 40 })
})

test('what is in the way is told, and nothing is written', async () => {
  const { place, signer, out, make } = withFolder()
  place.write('schemas/schemas.lock', '')
  await expect(make()).rejects.toMatchObject({
    code: 'SCHEMA_SNAPSHOT',
    message: expect.stringContaining(`${climate}/1.json`) as string,
  })
  rmSync(place.at('schemas/schemas.lock'))
  place.write(`schemas/${climate}/2.json`, '{')
  await expect(make()).rejects.toMatchObject({ code: 'SCHEMA_FOLDER' })
  rmSync(place.at(`schemas/${climate}/2.json`))
  writeFileSync(out, place.signer('other').sign(1, new Map()))
  await expect(make()).rejects.toMatchObject({
    code: 'SCHEMA_SNAPSHOT',
    hint: expect.stringContaining('--revision') as string,
  })
  await expect(schema('verify', out, '--keys', signer.publicFile)).rejects.toMatchObject({
    code: 'SCHEMA_SNAPSHOT',
  })
  await expect(schema('verify', place.at('gone'), '--keys', signer.publicFile)).rejects.toMatchObject({
    code: 'SCHEMA_SNAPSHOT',
  })
})

test('keys are as openssl makes them', async () => {
  const { out, place } = withFolder()
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-openssl-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', join(dir, 'key.pem')])
  execFileSync('openssl', ['pkey', '-in', join(dir, 'key.pem'), '-pubout', '-out', join(dir, 'key.pub')])
  await schema('snapshot', '--folder', place.at('schemas'), '--key', join(dir, 'key.pem'), '--out', out)
  expect(await schema('verify', out, '--keys', join(dir, 'key.pub'))).toContain('sound: revision 1')
})
