import { mkdtemp, rm } from 'node:fs/promises'
import { readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { registerCertsCommands } from '../../../certs/command.ts'
import { run } from '../../../dev/servers/command.ts'

const dayMs = 86_400_000
let now = new Date()
let dir: string
beforeEach(async () => {
  now = new Date()
  dir = await mkdtemp(join(tmpdir(), 'tidegate-revoke-'))
  await tidegate('init')
  await tidegate('device', 'boiler-7', 'boiler-8')
})
afterEach(() => rm(dir, { recursive: true, force: true }))

async function tidegate(...words: string[]): Promise<string> {
  const lines: string[] = []
  const program = new Command('tidegate').exitOverride().configureOutput({ writeErr: () => undefined })
  registerCertsCommands(program, { say: (line) => lines.push(line), now: () => now })
  await program.parseAsync(['certs', ...words, '--dir', dir], { from: 'user' })
  return lines.join('\n')
}

const list = (): string => readFileSync(join(dir, 'ca.crl'), 'utf8')
const openssl = async (...args: string[]): Promise<string> => {
  const { stdout, stderr } = await run({ file: 'openssl', args }, { timeoutMs: 15_000 })
  return stdout + stderr
}

test('a device is put on the list, which OpenSSL reads and holds against it alone', async () => {
  expect(await tidegate('revoke', 'boiler-7')).toMatch(
    /^revoked {2}\S+boiler-7\.crt {2}[0-9a-f]{32}\nsigned {3}\S+ca\.crl {2}1 listed, until /,
  )
  expect(await openssl('crl', '-in', join(dir, 'ca.crl'), '-noout', '-text')).toMatch(/CRL Number/)
  const verify = (id: string): Promise<string> =>
    openssl(
      'verify',
      '-crl_check',
      '-CAfile',
      join(dir, 'ca.crt'),
      '-CRLfile',
      join(dir, 'ca.crl'),
      join(dir, 'devices', `${id}.crt`),
    )
  expect(await verify('boiler-8')).toContain('OK')
  expect(await verify('boiler-7')).toMatch(/certificate revoked/)
})

test('to revoke again changes nothing, another is added, and a list half over is signed anew', async () => {
  await tidegate('revoke', 'boiler-7')
  const first = list()
  expect(await tidegate('revoke', 'boiler-7')).toMatch(/^kept[^]*kept {5}\S+ca\.crl {2}1 listed/)
  expect(await tidegate('revoke')).toContain('kept')
  expect(list()).toBe(first)
  expect(await tidegate('revoke', 'boiler-7', 'boiler-8')).toContain('2 listed')
  const second = list()
  now = new Date(now.getTime() + 16 * dayMs)
  expect(await tidegate('revoke')).toContain(
    `2 listed, until ${new Date(now.getTime() + 30 * dayMs).toISOString().slice(0, 10)}`,
  )
  expect(list()).not.toBe(second)
  expect(await tidegate('revoke', '--days', '90')).toContain('signed')
})

test('a revoked certificate is not kept when the device is issued one: it gets a new one', async () => {
  const file = join(dir, 'devices', 'boiler-7.crt')
  const before = readFileSync(file, 'utf8')
  await tidegate('revoke', 'boiler-7')
  const said = await tidegate('device', 'boiler-7', 'boiler-8')
  expect(said).toMatch(/issued {2}\S+boiler-7\.crt/)
  expect(said).toMatch(/kept {4}\S+boiler-8\.crt/)
  expect(readFileSync(file, 'utf8')).not.toBe(before)
  expect(await tidegate('revoke', 'boiler-7')).toContain('2 listed')
})

test('what is not its own to take back is refused, and a list that cannot be read is not replaced', async () => {
  await expect(tidegate('revoke', 'nobody')).rejects.toMatchObject({ code: 'TLS_FILE_MISSING' })
  const stranger = await mkdtemp(join(tmpdir(), 'tidegate-stranger-'))
  const home = dir
  dir = stranger
  await tidegate('init')
  await tidegate('revoke')
  await tidegate('device', 'boiler-9')
  const [foreign, foreignList] = [readFileSync(join(dir, 'devices', 'boiler-9.crt')), list()]
  dir = home
  writeFileSync(join(dir, 'devices', 'boiler-9.crt'), foreign)
  await expect(tidegate('revoke', 'boiler-9')).rejects.toMatchObject({ code: 'CERTS_NOT_OURS' })
  for (const bad of ['', 'no list', foreignList]) {
    writeFileSync(join(dir, 'ca.crl'), bad)
    await expect(tidegate('revoke', 'boiler-7')).rejects.toMatchObject({ code: 'CERTS_LIST' })
    expect(list()).toBe(bad)
  }
  await rm(stranger, { recursive: true, force: true })
})

test('a device is suspended by name, with the day and why, and resumed; what else stands in the file stays', async () => {
  const file = join(dir, 'denied.txt')
  const denied = (): string => readFileSync(file, 'utf8')
  const day = now.toISOString().slice(0, 10)
  expect(await tidegate('suspend', 'boiler-7', '--reason', 'on loan\nto the port')).toMatch(
    /^suspended {2}boiler-7 {2}\S+denied\.txt$/,
  )
  expect(denied()).toBe(`device boiler-7  # ${day}, on loan to the port\nend\n`)
  expect(await tidegate('suspend', 'boiler-7', 'boiler-9')).toMatch(
    /^kept {7}boiler-7 .*\nsuspended {2}boiler-9 /,
  )
  writeFileSync(file, `# ours\nserial 4a1f\n${denied()}`)
  expect(await tidegate('list')).toMatch(/^suspended .* boiler-7$/m)
  expect(await tidegate('list')).toMatch(/^active .* boiler-8$/m)
  expect(await tidegate('resume', 'boiler-7')).toMatch(/^resumed {4}boiler-7 /)
  expect(denied()).toBe(`# ours\nserial 4a1f\ndevice boiler-9  # ${day}\nend\n`)
  await expect(tidegate('resume', 'boiler-9', 'boiler-7')).rejects.toMatchObject({
    code: 'CERTS_REQUEST',
    message: expect.stringContaining('boiler-7 is not suspended') as string,
  })
  expect(denied()).toContain('boiler-9')
  await expect(tidegate('suspend', 'no device')).rejects.toMatchObject({ code: 'DENIED_INVALID' })
  writeFileSync(file, 'device boiler-9')
  await expect(tidegate('suspend', 'boiler-8')).rejects.toMatchObject({ code: 'DENIED_INVALID' })
  expect(denied()).toBe('device boiler-9')
})
