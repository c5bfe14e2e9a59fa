import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Command } from 'commander'
import { addDevice, removeDevice, renewPassword } from '../../../edge/devices-tool/change.ts'
import { removeLeftover } from '../../../edge/devices-tool/users-lock.ts'
import { registerDevicesCommand } from '../../../edge/devices-tool/command.ts'
import { derive, hashPassword, makePassword, readHash } from '../../../edge/users/password.ts'
import { loadUsers, parseUsers, saveUsers } from '../../../edge/users/users-file.ts'
import { systemClock } from '../../../src/clock.ts'
import { cheapHash } from '../../support/edge/passwords.ts'

let folder: string
let file: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-users-'))
  file = join(folder, 'devices.yaml')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

test('a password has 130 random bits, in letters that nobody mistakes, and fits where products have 32 characters', () => {
  const made = Array.from({ length: 200 }, makePassword)
  for (const one of made) expect(one).toMatch(/^([0-9a-hjkmnp-tv-z]{5}-){4}[0-9a-hjkmnp-tv-z]{6}$/)
  expect(new Set(made).size).toBe(200)
  expect(made[0]).toHaveLength(30)
  // All letters occur.
  expect(new Set(made.join('').replaceAll('-', '')).size).toBe(32)
})

test('a hash is of scrypt with the parameters of OWASP, and its password alone gives its digest', async () => {
  const text = await hashPassword('right')
  expect(text).toMatch(/^\$scrypt\$ln=14,r=8,p=5\$[\w+/]{22}\$[\w+/]{43}$/)
  expect(await hashPassword('right')).not.toBe(text)
  const hash = readHash(text)
  if (!hash) throw new Error('it cannot be read')
  expect(await derive(Buffer.from('right'), hash)).toEqual(hash.digest)
  expect(await derive(Buffer.from('righu'), hash)).not.toEqual(hash.digest)
})

test('the digests are those of RFC 7914', async () => {
  const salt = Buffer.from('SodiumChloride')
  const digest = await derive(Buffer.from('pleaseletmein'), { ln: 14, r: 8, p: 1, salt })
  expect(digest.toString('hex')).toBe('7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2')
})

test.each([
  ['less work', 'ln=12,r=8,p=1'],
  ['no blocks', 'ln=14,r=0,p=1'],
  ['more memory than 32 MiB', 'ln=16,r=8,p=1'],
  ['four times the work and more', 'ln=14,r=8,p=21'],
  ['N beyond all', 'ln=99,r=8,p=1'],
])('a hash that would take %s is none (G7)', (_, parameters) => {
  const text = cheapHash('x').replace(/ln=14,r=8,p=5/, parameters)
  expect(readHash(text)).toBeUndefined()
  expect(() => parseUsers(`a1: ${text}\n`, 'x')).toThrow(
    'x has lines that cannot be read: line 1: what a1 has is no hash',
  )
})

test('a file is read line by line, quoted or not, and nothing of a line that cannot be read is told', () => {
  const hash = cheapHash('x')
  const users = parseUsers(`# ours\n\na1: ${hash}\r\na-2: '${hash}'\n1e3: "${hash}"\n`, 'x')
  expect([...users]).toEqual(['a1', 'a-2', '1e3'].map((name) => [name, hash]))
  for (const [line, fault] of [
    ['a1 secret', 'it is not `ID: hash`'],
    ['a1: secret', 'it is not `ID: hash`'],
    ['a1:', 'it is not `ID: hash`'],
    ['  a1: $x', 'it is not `ID: hash`'],
    ['a/1: $secret', 'what stands before its colon is no device ID'],
    ['a3: $secret', 'what a3 has is no hash of scrypt that is within bounds'],
    [`a0: ${hash}`, 'a0 is there twice'],
  ])
    expect(() => parseUsers(`a0: ${hash}\n${line}\n`, '/etc/u')).toThrowError(
      expect.objectContaining({
        code: 'USERS_INVALID',
        message: `/etc/u has lines that cannot be read: line 2: ${fault}`,
      }) as Error,
    )
  expect(() => parseUsers('', '/etc/u')).toThrow('/etc/u is empty, not even its heading is there')
})

test('a file is written whole, for its owner alone, in the place of the other, and leaves nothing beside it', async () => {
  await writeFile(file, 'old', { mode: 0o644 })
  const users = new Map([
    ['b', cheapHash('b')],
    ['a', cheapHash('a')],
  ])
  await saveUsers(file, users)
  expect(await loadUsers(file)).toEqual(users)
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  expect((await readFile(file, 'utf8')).split('\n').map((line) => line[0])).toEqual([
    '#',
    'a',
    'b',
    undefined,
  ])
  expect(await readdir(folder)).toEqual(['devices.yaml'])
  await expect(saveUsers(join(folder, 'none', 'x.yaml'), users)).rejects.toMatchObject({
    code: 'USERS_UNWRITABLE',
  })
  await expect(loadUsers(join(folder, 'none.yaml'))).rejects.toMatchObject({ code: 'USERS_UNREADABLE' })
  await expect(loadUsers(folder)).rejects.toMatchObject({ code: 'USERS_UNREADABLE' })
})

test('devices that are added at once are all there, and what an aborted change has left holds nobody up', async () => {
  await writeFile(`${file}.lock`, `999999999 ${(await import('node:os')).hostname()} 1\n`)
  const names = Array.from({ length: 8 }, (_, index) => `d-${index}`)
  const made = await Promise.all(names.map((name) => addDevice(file, name, systemClock)))
  expect(new Set(made).size).toBe(8)
  expect([...(await loadUsers(file)).keys()]).toEqual(names)
  expect(await readdir(folder)).toEqual(['devices.yaml'])
})

test('a lock that another has put in the place of a leftover stays its own', async () => {
  const lock = `${file}.lock`
  await writeFile(lock, 'the live one')
  await removeLeftover(lock, 'the leftover', '1 host 2\n')
  expect(await readFile(lock, 'utf8')).toBe('the live one')
  await removeLeftover(lock, 'the live one', '1 host 2\n')
  await removeLeftover(lock, 'the live one', '1 host 2\n')
  expect(await readdir(folder)).toEqual([])
})

test('a device has one password: another in its place, or none', async () => {
  await addDevice(file, 'a1', systemClock)
  const before = (await loadUsers(file)).get('a1')
  await expect(addDevice(file, 'a1', systemClock)).rejects.toMatchObject({ code: 'DEVICE_EXISTS' })
  await renewPassword(file, 'a1', systemClock)
  expect((await loadUsers(file)).get('a1')).not.toBe(before)
  await removeDevice(file, 'a1', systemClock)
  expect((await loadUsers(file)).size).toBe(0)
  await expect(removeDevice(file, 'a1', systemClock)).rejects.toMatchObject({ code: 'DEVICE_UNKNOWN' })
  await expect(renewPassword(file, 'a1', systemClock)).rejects.toMatchObject({ code: 'DEVICE_UNKNOWN' })
})

async function tidegate(...words: string[]): Promise<string> {
  const lines: string[] = []
  const program = new Command('tidegate').exitOverride().configureOutput({ writeErr: () => undefined })
  registerDevicesCommand(program, (line) => lines.push(line))
  await program.parseAsync(['devices', ...words], { from: 'user' })
  return lines.join('\n')
}

test('the command shows a password once, with what each product is told, and the file has the hash alone', async () => {
  const told = await tidegate('add', 'pump-7', '--users', file, '--host', 'gateway.lan')
  const [, password = ''] = /^pump-7: (\S+)$/m.exec(told) ?? []
  for (const line of [
    `Backlog SetOption103 1; MqttHost gateway.lan; MqttPort 8884; MqttClient pump-7; MqttUser pump-7; MqttPassword ${password}; Topic pump-7`,
    `mosquitto_pub -h gateway.lan -p 8884 --cafile ca.crt -i pump-7 -u pump-7 -P ${password} -q 1`,
    `server: mqtts://gateway.lan:8884`,
    `client.username_pw_set("pump-7", "${password}")`,
    `"server":"gateway.lan:8884","client_id":"pump-7","user":"pump-7","pass":"${password}"`,
  ])
    expect(told).toContain(line)
  expect(await readFile(file, 'utf8')).not.toContain(password)
  expect(await tidegate('list', '--users', file)).toBe('pump-7')
  expect(await tidegate('password', 'pump-7', '--users', file)).not.toContain(password)
  await tidegate('remove', 'pump-7', '--users', file)
  expect(await tidegate('list', '--users', file)).toBe('')
})

test('the command asks which file is meant, takes it from a configuration, and no name that is no device ID', async () => {
  await expect(tidegate('list')).rejects.toMatchObject({ code: 'USERS_UNNAMED' })
  await expect(tidegate('add', 'pump/7', '--users', file)).rejects.toThrow(/A device ID has 1 to 64/)
  const config = join(folder, 'edge.yaml')
  const listeners = [{ port: 1883, host: '192.168.7.1', auth: 'password', tls: false }]
  const mqtt = { tls: { ca: 'a', cert: 'b', key: 'c' }, users: 'devices.yaml', listeners }
  await writeFile(config, JSON.stringify({ gateway: 'g1', mqtt, uplink: { url: 'amqps://x' } }))
  const told = await tidegate('add', 'pump-7', '--config', config, '--host', 'gateway.lan')
  expect(told).toContain('server: mqtt://gateway.lan:1883')
  expect(told).not.toContain('--cafile')
  expect(await tidegate('list', '--users', file)).toBe('pump-7')
})
