import { spawn } from 'node:child_process'
import { accessSync, chmodSync, constants, mkdtempSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const cli = fileURLToPath(new URL('../../dist/cli/tidegate.js', import.meta.url))

interface Ended {
  code: number | null
  out: string
  err: string
}

function tidegate(args: string[], env: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cli, ...args], { env: { ...process.env, ...env } })
    let out = ''
    let err = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, out, err }))
  })
}

test('help names every command and shows how they are used', async () => {
  const { code, out } = await tidegate(['--help'])
  expect(code).toBe(0)
  for (const word of ['edge', 'cloud', 'certs', 'dev', 'Examples:']) expect(out).toContain(word)
})

test('the version is the package’s', async () => {
  expect(await tidegate(['--version'])).toMatchObject({ code: 0, out: '0.1.0\n' })
})

test.for([[['bogus']], [['edge', '--bogus']], [['edge', '--config']]])(
  'a command line that cannot be understood ends with 2: %j',
  async ([args]) => {
    const { code, err } = await tidegate(args as string[])
    expect(code).toBe(2)
    expect(err).toMatch(/^error: /)
  },
)

test('a configuration with faults ends with 1, one screen that names each, and no stack trace', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'tidegate-cli-')), 'edge.yaml')
  writeFileSync(file, 'gateway: no good\nmqtt: { port: many }\n')
  const { code, out, err } = await tidegate(['edge', '--config', file], {
    TIDEGATE_EDGE__OUTBOX__FULL: 'maybe',
  })
  expect(code).toBe(1)
  expect(out).toBe('')
  for (const key of [
    'gateway:',
    'mqtt.port:',
    'mqtt.tls: is required',
    'outbox.full:',
    'uplink: is required',
  ])
    expect(err).toContain(key)
  expect(err).toContain('code:  CONFIG_INVALID')
  expect(err).not.toMatch(/^\s+at /m)
})

test('a stack trace is there for who asks', async () => {
  const { err } = await tidegate(['edge', '--config', '/nowhere.yaml'], { TIDEGATE_DEBUG: '1' })
  expect(err).toContain('CONFIG_UNREADABLE')
  expect(err).toMatch(/^\s+at /m)
})

test('a simulation that is shorter than its outage is refused before anything is started', async () => {
  const { code, out, err } = await tidegate(['simulate', '--for', '10s', '--outage', '20s'])
  expect(code).toBe(1)
  expect(out).toBe('')
  expect(err).toContain('must be shorter than the run')
  expect(err).toContain('code:  OPTIONS_INVALID')
})

test('a report that cannot be written is told before the run, not after it', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-cli-'))
  // Below a file nobody may make a folder, not even root.
  writeFileSync(join(dir, 'file'), '')
  const report = join(dir, 'file', 'report.json')
  const { code, err } = await tidegate(['simulate', '--dir', join(dir, 'data'), '--report', report])
  expect(code).toBe(1)
  expect(err).toContain(report)
  expect(err).toContain('code:  REPORT_UNWRITABLE')
  expect(readdirSync(dir)).toEqual(['file'])
})

test('what the build leaves can be run as a command: npx finds it by a link, and sets no mode', async () => {
  chmodSync(cli, 0o644)
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const built = spawn('npm', ['run', 'build'], { cwd: root, stdio: 'ignore' })
  expect(await new Promise((resolve) => built.once('close', resolve))).toBe(0)
  expect(() => accessSync(cli, constants.X_OK)).not.toThrow()
})

test('an audit that nobody has told which database asks for it', async () => {
  const { code, err } = await tidegate(['audit'])
  expect(code).toBe(1)
  expect(err).toMatch(/which database\?[^]*--config[^]*OPTIONS_INVALID/)
})

test('--check says on standard output what it saw, and ends with 1 where a start would fail', async () => {
  const { code, out } = await tidegate(['cloud', '--check'], {
    TIDEGATE_CLOUD__CONSUMERS: '[{module: none.js}]',
  })
  expect(code).toBe(1)
  expect(out).toMatch(/^FAULT consumers .*none\.js.*\(CONSUMER_MODULE\)$/m)
  expect(out).toMatch(/It would not start: 1 fault, 1 warning\.$/m)
  expect(await tidegate(['cloud', '--check'], { TIDEGATE_CLOUD__OPS__PORT: '0' })).toMatchObject({ code: 0 })
})

test('a number that is none ends with 2 before anything begins', async () => {
  const { code, err } = await tidegate(['dev', '--sensors', '10k'])
  expect(code).toBe(2)
  expect(err).toContain("option '--sensors <count>' argument '10k' is invalid")
})
