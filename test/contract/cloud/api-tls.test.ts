import { X509Certificate } from 'node:crypto'
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Authority, createAuthority } from '../../../certs/authority.ts'
import { issueCertificate } from '../../../certs/issue.ts'
import { type ApiFiles, loadApiFiles, type RunningApi, startApi } from '../../../cloud/api/api.ts'
import { type ApiConfig, apiConfigSchema } from '../../../cloud/api/rules/settings.ts'
import { silentLog } from '../../../src/log.ts'
import { FakeClock, settled } from '../../support/fakes/clock.ts'
import { fakeTokens, newOwnKey } from '../../support/cloud/test-api.ts'

let dir: string
let ours: Authority
let foreign: Authority
let clock: FakeClock
let config: ApiConfig
let running: RunningApi | undefined

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tidegate-api-tls-'))
  ours = await createAuthority(join(dir, 'ours'))
  foreign = await createAuthority(join(dir, 'foreign'))
  const pem = newOwnKey().privateKey.export({ format: 'pem', type: 'pkcs8' })
  writeFileSync(join(dir, 'tokens.key'), pem, { mode: 0o600 })
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const files = { cert: 'api.crt', key: 'api.key' } as const
const pathOf = (name: keyof typeof files): string => join(dir, files[name])

/** As a person or a timer does it: each file whole, one after the other. @returns its serial number */
async function install(): Promise<string> {
  const outDir = join(dir, 'issued')
  const names = { commonName: 'api', kind: 'server' as const, dnsNames: ['localhost'] }
  const { certFile, keyFile } = await issueCertificate(ours, { ...names, outDir, force: true })
  for (const [from, to] of [
    [keyFile, pathOf('key')],
    [certFile, pathOf('cert')],
  ] as const) {
    copyFileSync(from, `${to}.new`)
    renameSync(`${to}.new`, to)
  }
  return new X509Certificate(readFileSync(certFile)).serialNumber
}

let first: string
beforeEach(async () => {
  clock = new FakeClock(Date.now())
  first = await install()
  const tls = { cert: pathOf('cert'), key: pathOf('key') }
  config = apiConfigSchema.parse({ port: 0, tls, tokens: { key: join(dir, 'tokens.key') } })
})
afterEach(async () => {
  await running?.close()
  running = undefined
})

async function start(read: ApiFiles = loadApiFiles(config, clock)): Promise<void> {
  running = await startApi({
    config,
    files: read,
    parts: { reads: undefined as never, tokens: fakeTokens() },
    observer: { answered: () => {}, refused: () => {} },
    cutOff: new AbortController(),
    clock,
    log: silentLog,
  })
}

/** Asks with a connection of its own. */
function ask(ca: Authority, options: object = {}): Promise<{ status: number | undefined; serial: string }> {
  return new Promise((resolve, reject) => {
    const url = `https://localhost:${running?.port}/v1/me`
    const request = get(
      url,
      { ca: readFileSync(ca.certFile), agent: false, family: 4, ...options },
      (response) => {
        const { serialNumber } = (response.socket as TLSSocket).getPeerCertificate()
        response.resume().on('end', () => resolve({ status: response.statusCode, serial: serialNumber }))
      },
    )
    request.on('error', reject)
  })
}

async function look(): Promise<void> {
  await settled()
  await clock.advance(10_000)
  await settled()
}

describe('the API on a port with TLS', () => {
  test('is spoken to by who trusts its CA, and by nobody who trusts another or speaks an older TLS (G9)', async () => {
    await start()
    // Nobody is signed in, and that is said within TLS.
    expect(await ask(ours)).toEqual({ status: 401, serial: first })
    await expect(ask(foreign)).rejects.toMatchObject({
      code: expect.stringMatching(/UNABLE_TO|SELF_SIGNED/) as string,
    })
    await expect(ask(ours, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1' })).rejects.toThrow(
      /protocol version|unsupported protocol|no protocols available/i,
    )
    const inClear = await fetch(`http://127.0.0.1:${running?.port}/v1/me`).catch(() => undefined)
    expect(inClear).toBeUndefined()
  })

  test('shows a certificate that was renewed while it runs, and goes on with the one before while it cannot be used', async () => {
    await start()
    const second = await install()
    await look()
    expect((await ask(ours)).serial).toBe(second)
    writeFileSync(pathOf('key'), 'torn')
    await look()
    expect((await ask(ours)).serial).toBe(second)
    const third = await install()
    await look()
    expect((await ask(ours)).serial).toBe(third)
  })

  test('shows one that was renewed between its start and the first look', async () => {
    const read = loadApiFiles(config, clock)
    const second = await install()
    await start(read)
    expect((await ask(ours)).serial).toBe(first)
    await look()
    expect((await ask(ours)).serial).toBe(second)
  })
})
