import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { registerCertsCommands } from '../../../certs/command.ts'

const now = new Date('2026-03-01T12:00:00Z')

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tidegate-certs-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

let alarms = 0

async function tidegate(...words: string[]): Promise<string> {
  alarms = 0
  const lines: string[] = []
  const program = new Command('tidegate').exitOverride().configureOutput({ writeErr: () => undefined })
  registerCertsCommands(program, {
    say: (line) => lines.push(line),
    now: () => now,
    onAlarm: () => (alarms += 1),
  })
  await program.parseAsync(['certs', ...words], { from: 'user' })
  return lines.join('\n')
}

test('from an empty folder to a device that can publish, every file written is named', async () => {
  expect(await tidegate('init', '--dir', dir)).toContain(join(dir, 'ca.key'))
  expect(await tidegate('server', 'edge', '--dir', dir)).toContain(join(dir, 'edge.crt'))
  expect(await tidegate('gateway', 'gw-1', '--dir', dir)).toContain(join(dir, 'gateways', 'gw-1.crt'))
  expect(await tidegate('cloud', '--dir', dir)).toContain(join(dir, 'cloud.crt'))
  expect(await tidegate('inspect', join(dir, 'cloud.crt'))).toContain('URI:urn:tidegate:cloud:cloud')
  const output = await tidegate('device', 'boiler-7', 'boiler-8', '--dir', dir)
  expect(output).toContain(`issued  ${join(dir, 'devices', 'boiler-8.crt')}`)
  expect(output).toContain(
    `--cafile ${dir}/ca.crt --cert ${dir}/devices/boiler-7.crt --key ${dir}/devices/boiler-7.key`,
  )
  expect(output).toContain('-t devices/boiler-7/events/')
})

test('a second run keeps what is good, and says so', async () => {
  const first = await tidegate('development', '--dir', dir, '--devices', '3', '--days', '40')
  expect(first).toContain(`made    ${join(dir, 'ca.crt')}`)
  expect(first).toContain('3 issued, 0 kept')
  const second = await tidegate('development', '--dir', dir, '--devices', '4', '--days', '40')
  expect(second).toContain(`kept    ${join(dir, 'ca.crt')}`)
  expect(second).toContain('1 issued, 3 kept')
  expect(await tidegate('inspect', join(dir, 'ca.crt'))).toContain('3650 days left')
})

test('inspect shows who a certificate is for and how long it lasts', async () => {
  await tidegate('init', '--dir', dir)
  await tidegate('server', 'mq', '--dns', 'mq.example', '--ip', '192.0.2.1', '--days', '90', '--dir', dir)
  const output = await tidegate('inspect', join(dir, 'mq.crt'))
  expect(output).toContain('DNS:mq.example, IP Address:192.0.2.1')
  expect(output).toContain('2026-05-30T12:00:00.000Z (90 days left)')
})

test('inspect ends with an alarm for what has ended or ends soon, and how soon is told', async () => {
  await tidegate('init', '--dir', dir)
  await tidegate('server', 'soon', '--days', '29', '--dir', dir)
  await tidegate('server', 'later', '--days', '40', '--dir', dir)
  const files = [join(dir, 'soon.crt'), join(dir, 'later.crt')]
  const output = await tidegate('inspect', ...files)
  expect(output.match(/RENEW IT.*29 days left, and less than 30 is too few/g)).toHaveLength(1)
  expect(alarms).toBe(1)
  await tidegate('inspect', ...files, '--within', '60')
  expect(alarms).toBe(2)
  expect(await tidegate('inspect', ...files, '--within', '7')).not.toContain('RENEW')
  expect(alarms).toBe(0)
})

test('a folder with a blank in its name is quoted in the line to copy', async () => {
  const blank = join(dir, "it's a folder")
  await tidegate('init', '--dir', blank)
  expect(await tidegate('device', 'a', '--dir', blank)).toContain(
    String.raw`--cafile '${dir}/it'\''s a folder/ca.crt'`,
  )
})

test('failures come out as errors with a code, for the program to show', async () => {
  await expect(tidegate('device', 'a', '--dir', dir)).rejects.toMatchObject({ code: 'CERTS_NO_AUTHORITY' })
  await expect(tidegate('inspect', join(dir, 'none.crt'))).rejects.toMatchObject({ code: 'TLS_FILE_MISSING' })
  await expect(tidegate('init', '--dir', dir, '--days', '1e3')).rejects.toMatchObject({
    code: 'commander.invalidArgument',
  })
})
