import { X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import { link, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import { codeOf, TidegateError } from '../src/errors.ts'
import { publicKeyOf } from './algorithms.ts'
import { type Authority, backdatedMs, type Surroundings } from './authority.ts'
import { type Issue, issueCertificate, type IssuedCertificate, refuseName, signCertificate } from './issue.ts'
import { publicMode, replaceCertificate, writeWhole } from './pem-files.ts'
import { folderOf, type Holder, holderOf, readRegister, roleOf } from './register.ts'
import { revokedSerials, suspended } from './revoke.ts'
import type { SigningRequest } from './sign.ts'

/** A key that is given out has so long to be replaced by one that only the device has. */
const bootstrapDays = 7

/** A device that asks for one certificate after the other gets the next one no sooner. */
const renewedAgainAfterMs = 3_600_000

/** Why nobody was enrolled, as HTTP says it. */
export class Refusal extends Error {
  readonly status: 403 | 429
  readonly retryAfterS: number | undefined

  constructor(status: 403 | 429, message: string, retryAfterS?: number) {
    super(message)
    this.status = status
    this.retryAfterS = retryAfterS
  }
}

/**
 * A certificate and a key to put into a device that is not there yet: `bootstrap/<device>.crt` and `.key`. It opens no gateway. It gets that one
 * device its first certificate, once, within its days (default 7).
 * @throws TidegateError as `issueCertificate` does
 */
export function issueBootstrap(
  authority: Authority,
  device: string,
  options: Pick<Issue, 'days' | 'force' | keyof Surroundings> = {},
): Promise<IssuedCertificate> {
  return issueCertificate(authority, {
    days: bootstrapDays,
    ...options,
    commonName: device,
    kind: 'client',
    role: 'bootstrap',
    outDir: join(authority.dir, 'bootstrap'),
    // Its days are fewer than those with which others are renewed, so what is there would never be kept.
    force: true,
  })
}

export interface EnrolmentOptions {
  authority: Authority
  /** Of the certificates that are issued; default as in `issueCertificate`. */
  days?: number | undefined
  now: () => Date
}

/**
 * What a device may ask for without a person (RFC 7030): its first certificate, with a bootstrap certificate, and the next one, with the one
 * that it has. Whose certificate it is was decided by whoever issued the one that is shown: a request can change nothing but the key.
 *
 * Each answer is on disk before it is given, and is given again to who lost it: a repeated request with the same key gets the same certificate.
 */
export class Enrolment {
  readonly #options: EnrolmentOptions
  /** One at a time: what has been issued is asked before the next is. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: EnrolmentOptions) {
    this.#options = options
  }

  /**
   * The first certificate of a device. A bootstrap certificate is worth one key: what is issued is kept as `enrolled/<serial number>.crt`.
   * @throws Refusal when what is shown is no bootstrap certificate, another key was enrolled with it, or the request asks for another name
   */
  enrol(shown: X509Certificate, request: SigningRequest): Promise<x509.X509Certificate> {
    return this.#inTurn(async () => {
      const { authority, days } = this.#options
      const { commonName } = await this.#holder(shown, request, (role) => role === 'bootstrap')
      if (sameKey(shown, request))
        throw new Refusal(403, 'the key of a bootstrap certificate is not made in the device: make another')
      const once = join(authority.dir, 'enrolled', `${serialOf(shown)}.crt`)
      const issue = this.#issue({ commonName, kind: 'client', role: 'device' }, days)
      const isFirst = !existsSync(once)
      if (isFirst) await this.#issueOnce(once, request, issue)
      const issued = await readCertificate(once)
      if (!sameKey(issued, request))
        throw new Refusal(
          403,
          `the bootstrap certificate of ${commonName} has been used, with another key: issue another, and revoke what it got if that was not this device`,
        )
      if (isFirst || !(await this.#isReplaced(issued, issue))) await this.#put(issued, issue)
      return issued
    })
  }

  /**
   * The next certificate of who has one; the newest that was issued to it, no other, so that of two who have the same name one is noticed.
   * @throws Refusal when what is shown is not that, or the last one was issued within the hour
   */
  renew(shown: X509Certificate, request: SigningRequest): Promise<x509.X509Certificate> {
    return this.#inTurn(async () => {
      const { authority, days, now } = this.#options
      const holder = await this.#holder(shown, request, (role) => role !== undefined && role !== 'bootstrap')
      const issue = this.#issue(holder, days)
      const newest = await readCertificate(join(issue.outDir, `${holder.commonName}.crt`)).catch(
        () => undefined,
      )
      if (newest === undefined)
        throw new Refusal(403, `there is no certificate of ${holder.commonName} that could be renewed`)
      // What a person has renewed for the same key since is the device's as well.
      const isNewest = publicKeyOf(newest).equals(shown.publicKey)
      // Its answer was lost, and it asks again with what it has.
      if (!isNewest && sameKey(newest, request)) return newest
      if (!isNewest)
        throw new Refusal(403, `a newer certificate has been issued to ${holder.commonName}: show that one`)
      const sinceMs = now().getTime() - newest.notBefore.getTime() - backdatedMs
      if (sinceMs < renewedAgainAfterMs)
        throw new Refusal(
          429,
          `the certificate of ${holder.commonName} was issued within the hour`,
          Math.ceil((renewedAgainAfterMs - sinceMs) / 1000),
        )
      const issued = await signCertificate(authority, request.publicKey, issue)
      await this.#put(issued, issue)
      return issued
    })
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async #holder(
    shown: X509Certificate,
    request: SigningRequest,
    may: (role: Holder['role']) => boolean,
  ): Promise<Holder & { role: NonNullable<Holder['role']> }> {
    const holder = holderOf(new x509.X509Certificate(new Uint8Array(shown.raw)))
    if (holder?.role === undefined || !may(holder.role))
      throw new Refusal(403, 'the certificate that was shown is not one that may ask for this')
    refuseName(this.#options.authority, this.#issue(holder, undefined))
    if (!shown.verify(publicKeyOf(this.#options.authority.certificate)))
      throw new Refusal(403, 'the certificate that was shown was not issued by the CA that issues here')
    if ((await revokedSerials(this.#options.authority)).has(serialOf(shown)))
      throw new Refusal(403, `the certificate of ${holder.commonName} was revoked`)
    if ((await suspended(this.#options.authority)).devices.has(holder.commonName))
      throw new Refusal(403, `${holder.commonName} is suspended`)
    if (request.commonName !== holder.commonName)
      throw new Refusal(
        403,
        `${holder.commonName} may not ask for a certificate of ${JSON.stringify(request.commonName ?? '')}`,
      )
    return { ...holder, role: holder.role }
  }

  #issue(holder: Holder, days: number | undefined): Issue {
    const { authority, now } = this.#options
    return {
      ...holder,
      outDir: join(authority.dir, folderOf(roleOf(holder))),
      now: now(),
      ...(days !== undefined && { days }),
    }
  }

  /** Whoever is first, should two processes do it. */
  async #issueOnce(once: string, request: SigningRequest, issue: Issue): Promise<void> {
    const issued = await signCertificate(this.#options.authority, request.publicKey, issue)
    const draft = `${once}.${issued.serialNumber}`
    await writeWhole(draft, pemOf(issued), publicMode)
    try {
      await link(draft, once)
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw cannotKeep(once, error)
    } finally {
      await rm(draft, { force: true })
    }
  }

  /** Whether what lies in the place of a certificate was issued after it. */
  async #isReplaced(issued: x509.X509Certificate, { commonName, outDir }: Issue): Promise<boolean> {
    const present = await readCertificate(join(outDir, `${commonName}.crt`)).catch(() => undefined)
    const serials = (await readRegister(this.#options.authority.dir)).map(({ serialNumber }) => serialNumber)
    return (
      present !== undefined &&
      serials.lastIndexOf(present.serialNumber) >= serials.lastIndexOf(issued.serialNumber)
    )
  }

  async #put(issued: x509.X509Certificate, { commonName, outDir }: Issue): Promise<void> {
    await replaceCertificate(join(outDir, `${commonName}.crt`), pemOf(issued))
  }
}

function sameKey(certificate: X509Certificate | x509.X509Certificate, request: SigningRequest): boolean {
  const key = certificate instanceof X509Certificate ? certificate.publicKey : publicKeyOf(certificate)
  return key.equals(publicKeyOf(request))
}

function serialOf(certificate: X509Certificate): string {
  return certificate.serialNumber.toLowerCase()
}

function pemOf(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`
}

async function readCertificate(file: string): Promise<x509.X509Certificate> {
  return new x509.X509Certificate(await readFile(file, 'utf8'))
}

function cannotKeep(file: string, cause: unknown): TidegateError {
  return new TidegateError('CERTS_FOLDER', {
    message: `cannot write ${file} (${codeOf(cause)})`,
    retryable: false,
    hint: 'choose a folder this user may write to (--dir) on a disk that has room',
    cause,
  })
}
