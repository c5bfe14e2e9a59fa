import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { run } from '../../../dev/servers/command.ts'
import { createTestPki, type TestPki } from '../../support/edge/test-broker.ts'

const tidegate = join(import.meta.dirname, '../../../dist/cli/tidegate.js')
let dir: string
let pki: TestPki
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tidegate-data-'))
  pki = await createTestPki()
})
afterAll(async () => {
  await pki.close()
  rmSync(dir, { recursive: true, force: true })
})

function configFile(dataDir: string, host = '127.0.0.1'): string {
  const file = join(dir, 'edge.yaml')
  const tls = { ca: pki.caFile, cert: pki.edge.certFile, key: pki.edge.keyFile }
  const config = {
    gateway: 'gateway-1',
    dataDir,
    mqtt: { host, port: 0, tls },
    outbox: { reserve: 0 },
    uplink: { url: 'amqp://127.0.0.1:1' },
    ops: { port: 0 },
  }
  writeFileSync(file, JSON.stringify(config))
  return file
}

/** What the program has said until it runs. */
async function started(file: string): Promise<string[]> {
  // As a shell has it that was told nothing.
  const child = spawn(
    'sh',
    ['-c', `umask 022; exec "$0" "$@"`, process.execPath, tidegate, 'edge', '-c', file],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const lines: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line)
    if (line.includes('the edge is running')) break
  }
  child.stdout.resume()
  child.kill('SIGTERM')
  await once(child, 'exit')
  return lines
}

test('no other user of the machine can read what the gateway keeps', async () => {
  const dataDir = join(dir, 'new', 'data')
  const lines = await started(configFile(dataDir))
  expect(lines.join('\n')).not.toContain('DATA_FOLDER_OPEN')
  const paths = [
    dataDir,
    ...readdirSync(dataDir, { recursive: true, encoding: 'utf8' }).map((name) => join(dataDir, name)),
  ]
  expect(paths.length).toBeGreaterThan(5)
  expect(paths.filter((path) => (statSync(path).mode & 0o077) !== 0)).toEqual([])
})

test('a data folder that others can read is told of, at the start and by --check, and so is a development CA that others reach', async () => {
  const dataDir = join(dir, 'open')
  mkdirSync(dataDir)
  chmodSync(dataDir, 0o755)
  const file = configFile(dataDir, '0.0.0.0')
  const lines = (await started(file)).join('\n')
  expect(lines).toMatch(/"code":"DATA_FOLDER_OPEN".*mode 0755.*chmod 700/)
  expect(lines).toMatch(/"code":"DEVELOPMENT_CA"/)
  const { code, stdout } = await run({
    file: process.execPath,
    args: [tidegate, 'edge', '-c', file, '--check'],
  })
  expect(code).toBe(0)
  expect(stdout).toMatch(/^warn +dataDir .*mode 0755/m)
  expect(stdout).toMatch(/^warn +mqtt\.tls .*development CA/m)
})
