import 'reflect-metadata'
import { KeyObject, type webcrypto, X509Certificate } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { once } from 'node:events'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import * as x509 from '@peculiar/x509'
import { type Authority, createAuthority } from '../../../certs/authority.ts'
import { issueBootstrap } from '../../../certs/enrolment.ts'
import { type EstServer, startEst } from '../../../certs/est.ts'
import { listFleet, renewCertificate } from '../../../certs/fleet.ts'
import { issueCertificate } from '../../../certs/issue.ts'
import {
  resumeDevices,
  revokeCertificates,
  revokedSerials,
  revokeHolders,
  suspendDevices,
} from '../../../certs/revoke.ts'
import { parseSigningRequest, signRequest } from '../../../certs/sign.ts'
import { identify } from '../../../edge/mqtt/entrance/identity.ts'
import { systemClock } from '../../../src/clock.ts'
import { makeSigningRequest } from '../../support/certs/signing-request.ts'

const hourMs = 3_600_000

let dir: string
let authority: Authority
let est: EstServer
let nowMs: number
const said: string[] = []
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tidegate-est-'))
  nowMs = Date.now()
  authority = await createAuthority(dir)
  const { certFile, keyFile } = await issueCertificate(authority, {
    commonName: 'enrolment',
    kind: 'server',
    dnsNames: ['localhost'],
    outDir: dir,
  })
  said.length = 0
  est = await startEst({
    authority,
    cert: await readFile(certFile),
    key: await readFile(keyFile),
    host: '127.0.0.1',
    port: 0,
    now: () => new Date(nowMs),
    clock: systemClock,
    say: (line) => said.push(line),
  })
})
afterEach(async () => {
  await est.close()
  await rm(dir, { recursive: true, force: true })
})

interface Shown {
  cert: string | Buffer
  key: string | Buffer
}

interface Answer {
  status: number | undefined
  headers: NodeJS.Dict<string | string[]>
  text: string
}

async function ask(shown: Shown | undefined, path: string, body?: string): Promise<Answer> {
  const ca = await readFile(authority.certFile)
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      {
        host: 'localhost',
        port: est.port,
        path: `/.well-known/est/${path}`,
        method: body === undefined ? 'GET' : 'POST',
        ca,
        ...shown,
        agent: false,
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () =>
          resolve({
            status: response.statusCode,
            headers: response.headers,
            text: Buffer.concat(chunks).toString(),
          }),
        )
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}

function certificateIn({ status, text }: Answer): X509Certificate {
  expect(status, text).toBe(200)
  const [certificate] = new x509.X509Certificates(text.replace(/\s/g, ''))
  return new X509Certificate(Buffer.from((certificate as x509.X509Certificate).rawData))
}

async function bootstrapOf(device: string): Promise<Shown> {
  const { certFile, keyFile } = await issueBootstrap(authority, device)
  return { cert: await readFile(certFile), key: await readFile(keyFile) }
}

function shownWith(certificate: X509Certificate, keys: webcrypto.CryptoKeyPair): Shown {
  const key = KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' })
  return { cert: certificate.toString(), key }
}

/** A device with its second certificate, two hours after its first. */
async function enrolledAndRenewed() {
  const first = await makeSigningRequest('boiler-7')
  const bootstrap = await bootstrapOf('boiler-7')
  const enrolled = certificateIn(await ask(bootstrap, 'simpleenroll', first.pem))
  nowMs += 2 * hourMs
  const second = await makeSigningRequest('boiler-7')
  const renewed = certificateIn(await ask(shownWith(enrolled, first.keys), 'simplereenroll', second.pem))
  return { bootstrap, first, enrolled, second, renewed }
}

const deviceFile = (device: string) => readFile(join(dir, 'devices', `${device}.crt`))

test('a device makes its own key and gets its first certificate, and the key never leaves it', async () => {
  const { pem } = await makeSigningRequest('boiler-7')
  const bootstrap = await bootstrapOf('boiler-7')
  const issued = certificateIn(await ask(bootstrap, 'simpleenroll', pem))
  expect(issued).toMatchObject({ subject: 'CN=boiler-7', ca: false })
  expect(issued.subjectAltName).toBe('URI:urn:tidegate:device:boiler-7')
  expect(new X509Certificate(await deviceFile('boiler-7')).serialNumber).toBe(issued.serialNumber)
  expect(readdirSync(join(dir, 'devices'))).toEqual(['boiler-7.crt'])
  expect(said.join()).toContain('simpleenroll of boiler-7')
})

test('whoever has lost the answer asks again with the same key, and gets the same certificate', async () => {
  const { pem } = await makeSigningRequest('boiler-7')
  const bootstrap = await bootstrapOf('boiler-7')
  const [one, other] = await Promise.all([
    ask(bootstrap, 'simpleenroll', pem),
    ask(bootstrap, 'simpleenroll', pem),
  ])
  expect(certificateIn(one).serialNumber).toBe(certificateIn(other).serialNumber)
})

test('a bootstrap certificate enrols one key, and no other after it, nor another device, nor its own key', async () => {
  const bootstrap = await bootstrapOf('boiler-7')
  const other = await makeSigningRequest('boiler-8')
  expect(await ask(bootstrap, 'simpleenroll', other.pem)).toMatchObject({
    status: 403,
    text: 'boiler-7 may not ask for a certificate of "boiler-8"\n',
  })
  const own = await bootstrapRequest('boiler-7')
  expect(await ask(own.shown, 'simpleenroll', own.pem)).toMatchObject({ status: 403 })
  const first = await makeSigningRequest('boiler-7')
  const issued = certificateIn(await ask(bootstrap, 'simpleenroll', first.pem))
  const thief = await makeSigningRequest('boiler-7')
  const refused = await ask(bootstrap, 'simpleenroll', thief.pem)
  expect(refused).toMatchObject({ status: 403, text: expect.stringContaining('has been used') as string })
  expect(new X509Certificate(await deviceFile('boiler-7')).serialNumber).toBe(issued.serialNumber)
  expect(existsSync(join(dir, 'devices', 'boiler-8.crt'))).toBe(false)
})

test('a bootstrap certificate opens no gateway, and renews nothing; a device enrols nobody', async () => {
  const bootstrap = await bootstrapOf('boiler-7')
  const { subject, subjectAltName } = new X509Certificate(bootstrap.cert)
  expect(subject).toBe('CN=boiler-7')
  expect(identify({ subject: { CN: 'boiler-7' }, subjectaltname: subjectAltName as string })).toMatchObject({
    ok: false,
    reason: 'bad-identity',
  })
  const { pem, keys } = await makeSigningRequest('boiler-7')
  expect(await ask(bootstrap, 'simplereenroll', pem)).toMatchObject({ status: 403 })
  const device = shownWith(certificateIn(await ask(bootstrap, 'simpleenroll', pem)), keys)
  expect(await ask(device, 'simpleenroll', pem)).toMatchObject({ status: 403 })
})

test('a device renews with the newest certificate that it has: of two that claim a name, one is refused', async () => {
  const first = await makeSigningRequest('boiler-7')
  const enrolled = certificateIn(await ask(await bootstrapOf('boiler-7'), 'simpleenroll', first.pem))
  const device = shownWith(enrolled, first.keys)
  const second = await makeSigningRequest('boiler-7')
  const soon = await ask(device, 'simplereenroll', second.pem)
  expect(soon.status).toBe(429)
  expect(Number(soon.headers['retry-after'])).toBeGreaterThan(3500)
  nowMs += 2 * hourMs
  const renewed = certificateIn(await ask(device, 'simplereenroll', second.pem))
  expect(renewed.serialNumber).not.toBe(enrolled.serialNumber)
  // Its answer was lost: the certificate is there, and only the key in the request can use it.
  const again = certificateIn(await ask(device, 'simplereenroll', second.pem))
  expect(again.serialNumber).toBe(renewed.serialNumber)
  const thief = await makeSigningRequest('boiler-7')
  expect(await ask(device, 'simplereenroll', thief.pem)).toMatchObject({
    status: 403,
    text: 'a newer certificate has been issued to boiler-7: show that one\n',
  })
})

test('who is revoked is so by the register, wherever the files of their certificates are', async () => {
  const bootstrap = await bootstrapOf('boiler-7')
  await rm(join(dir, 'bootstrap'), { recursive: true })
  await signRequest(
    authority,
    await parseSigningRequest(Buffer.from((await makeSigningRequest('boiler-7')).pem), 'it'),
    {
      commonName: 'boiler-7',
      kind: 'client',
      role: 'device',
      outDir: join(dir, 'elsewhere'),
    },
  )
  const { certificates } = await revokeHolders(authority, [{ role: 'device', commonName: 'boiler-7' }])
  expect(certificates.map(({ what }) => what)).toEqual(['bootstrap boiler-7', 'device boiler-7'])
  const { pem } = await makeSigningRequest('boiler-7')
  expect(await ask(bootstrap, 'simpleenroll', pem)).toMatchObject({ status: 403 })
})

test('a device whose certificate a person has renewed for the same key renews with the one that it has', async () => {
  const first = await makeSigningRequest('boiler-7')
  const enrolled = certificateIn(await ask(await bootstrapOf('boiler-7'), 'simpleenroll', first.pem))
  await renewCertificate(authority, join(dir, 'devices', 'boiler-7.crt'))
  nowMs += 2 * hourMs
  const second = await makeSigningRequest('boiler-7')
  const next = certificateIn(await ask(shownWith(enrolled, first.keys), 'simplereenroll', second.pem))
  expect(next.publicKey.equals(enrolled.publicKey)).toBe(false)
})

test('closing ends those that have not come as far as a request', async () => {
  const socket = connect(est.port, '127.0.0.1')
  await once(socket, 'connect')
  socket.resume()
  const gone = once(socket, 'close')
  await est.close()
  expect(await gone).toEqual([false])
}, 15_000)

test('what was revoked enrols and renews nothing: every certificate that its holder was ever issued', async () => {
  const { bootstrap, first, enrolled, second, renewed } = await enrolledAndRenewed()
  const files = ['devices', 'bootstrap'].map((folder) => join(dir, folder, 'boiler-7.crt'))
  await revokeCertificates(authority, files)
  expect([...(await revokedSerials(authority))].toSorted()).toEqual(
    [new X509Certificate(bootstrap.cert), enrolled, renewed]
      .map(({ serialNumber }) => serialNumber.toLowerCase())
      .toSorted(),
  )
  nowMs += 2 * hourMs
  const third = await makeSigningRequest('boiler-7')
  for (const [shown, path, request] of [
    [bootstrap, 'simpleenroll', first],
    [shownWith(renewed, second.keys), 'simplereenroll', third],
    [shownWith(enrolled, first.keys), 'simplereenroll', second],
  ] as const)
    expect(await ask(shown, path, request.pem)).toMatchObject({
      status: 403,
      text: 'the certificate of boiler-7 was revoked\n',
    })
  expect(await listFleet(authority, { now: new Date(nowMs) })).toContainEqual(
    expect.objectContaining({ commonName: 'boiler-7', role: 'device', state: 'revoked' }),
  )
  await expect(renewCertificate(authority, join(dir, 'devices', 'boiler-7.crt'))).rejects.toMatchObject({
    code: 'CERTS_REQUEST',
    message: expect.stringContaining('was revoked') as string,
  })
})

test('a device that is suspended neither enrols nor renews, and does both again when it is resumed', async () => {
  const { bootstrap, first, renewed, second } = await enrolledAndRenewed()
  const listed = async (): Promise<unknown[]> =>
    (await listFleet(authority, { now: new Date(nowMs) })).map(({ role, state }) => `${role} ${state}`)
  expect(await listed()).toEqual(expect.arrayContaining(['bootstrap used', 'device active']))
  await suspendDevices(authority, ['boiler-7'], { now: new Date(nowMs), reason: 'on loan' })
  expect(await listed()).toEqual(expect.arrayContaining(['bootstrap suspended', 'device suspended']))
  nowMs += 2 * hourMs
  const third = await makeSigningRequest('boiler-7')
  const asks = () =>
    Promise.all([
      ask(bootstrap, 'simpleenroll', first.pem),
      ask(shownWith(renewed, second.keys), 'simplereenroll', third.pem),
    ])
  for (const answer of await asks())
    expect(answer).toMatchObject({ status: 403, text: 'boiler-7 is suspended\n' })
  await resumeDevices(authority, ['boiler-7'])
  expect(await asks()).toMatchObject([{ status: 200 }, { status: 200 }])
})

test('an enrolment that is repeated late does not put an older certificate in the place of a newer', async () => {
  const { bootstrap, first, enrolled, renewed } = await enrolledAndRenewed()
  expect(certificateIn(await ask(bootstrap, 'simpleenroll', first.pem)).serialNumber).toBe(
    enrolled.serialNumber,
  )
  expect(new X509Certificate(await deviceFile('boiler-7')).serialNumber).toBe(renewed.serialNumber)
})

test('what is no request, too long, or for nothing that is there gets an answer that says so', async () => {
  const bootstrap = await bootstrapOf('boiler-7')
  expect(await ask(bootstrap, 'simpleenroll', 'AAAA')).toMatchObject({ status: 400 })
  expect(await ask(bootstrap, 'simpleenroll', 'A'.repeat(20_000))).toMatchObject({ status: 400 })
  expect(await ask(bootstrap, 'simpleenroll')).toMatchObject({ status: 405 })
  expect(await ask(bootstrap, 'fullcmc', '')).toMatchObject({ status: 404 })
  await expect(ask(undefined, 'cacerts')).rejects.toThrow(/ECONNRESET|socket hang up|certificate required/i)
  const chain = await ask(bootstrap, 'cacerts')
  expect(certificateIn(chain).subject).toBe('CN=Tidegate development CA')
})

/** A request for the key that the bootstrap certificate itself is for. */
async function bootstrapRequest(device: string): Promise<{ shown: Shown; pem: string }> {
  const shown = await bootstrapOf(device)
  const { importSigningKeys } = await import('../../../certs/algorithms.ts')
  const { pem } = await makeSigningRequest(device, { keys: await importSigningKeys(String(shown.key)) })
  return { shown, pem }
}
