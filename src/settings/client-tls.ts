import { statSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { z } from 'zod'
import type { Clock } from '../clock.ts'
import { codeOf, messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import {
  type KeyPair,
  type KeyPairPaths,
  loadCas,
  loadTlsFiles,
  refuseOutsideValidity,
  usable,
} from '../tls-files.ts'

const file = z.string().min(1)

/** How a client knows its server: a CA alone, or with a certificate and a key of its own. The same on both sides. */
export const clientTls = z
  .strictObject({ ca: file, cert: file.optional(), key: file.optional() })
  .superRefine(({ cert, key }, context) => {
    if (cert === undefined && key !== undefined)
      context.addIssue({ code: 'custom', path: ['cert'], message: 'is required where there is a key' })
    if (key === undefined && cert !== undefined)
      context.addIssue({ code: 'custom', path: ['key'], message: 'is required where there is a cert' })
  })

export type ClientTlsPaths = z.output<typeof clientTls>

/** With every path made absolute. */
export function clientTlsPaths(
  { ca, cert, key }: ClientTlsPaths,
  absolute: (path: string) => string,
): ClientTlsPaths {
  return {
    ca: absolute(ca),
    ...(cert !== undefined && { cert: absolute(cert) }),
    ...(key !== undefined && { key: absolute(key) }),
  }
}

/** What a client shows and trusts: a CA alone, or with a certificate of its own. */
export interface ClientTls {
  ca: Buffer
  pair?: KeyPair
}

/** Throws as `loadTlsFiles` does, and TLS_UNUSABLE. */
export function loadClientTls(
  { ca: caFile, cert: certFile, key: keyFile }: ClientTlsPaths,
  { where, now = new Date() }: Pick<KeyPairPaths, 'where' | 'now'>,
): ClientTls {
  if (certFile === undefined || keyFile === undefined) {
    const { ca, certificates } = loadCas(caFile, where)
    for (const authority of certificates) refuseOutsideValidity(authority, caFile, where, now)
    usable(where, () => createSecureContext({ ca }))
    return { ca }
  }
  const { ca, ...pair } = loadTlsFiles({ caFile, certFile, keyFile, where, kind: 'client', now })
  usable(where, () => createSecureContext({ ca, cert: pair.cert, key: pair.key }))
  return { ca, pair }
}

/** How a client says who it is: by the password of its URL, or by its certificate. */
export const authentication = z.enum(['password', 'certificate']).default('password')

/** By certificate needs one, and the URL's user: the broker takes the certificate's name for it, and messages carry it (G9). */
export function refuseNameless(
  { url, auth, tls }: { url: string; auth: 'password' | 'certificate'; tls?: ClientTlsPaths | undefined },
  context: z.RefinementCtx,
): void {
  if (auth === 'password' || !URL.canParse(url)) return
  if (tls?.cert === undefined)
    context.addIssue({ code: 'custom', path: ['auth'], message: 'by certificate needs tls.cert and tls.key' })
  if (new URL(url).username === '')
    context.addIssue({
      code: 'custom',
      path: ['url'],
      message: 'must name the user that is the common name of the certificate: amqps://gateway-1@host',
    })
}

export interface ClientTlsFilesOptions {
  paths: ClientTlsPaths
  /** Who needs the files, as in every message: `the uplink (uplink.tls)`. */
  where: string
  clock: Pick<Clock, 'now'>
  log: Logger
}

/**
 * What a client shows and trusts, as its files are now: whoever connects has the newest that were good, and a certificate is renewed by
 * putting its files in place. A connection that is up stays up, with what it was opened with.
 */
export class ClientTlsFiles {
  readonly #options: ClientTlsFilesOptions
  #tls: ClientTls
  /** Of the files that were read last, good or not. */
  #seen: string
  #faulty = false

  /** @throws TidegateError as `loadTlsFiles` does: there is nothing to fall back to yet */
  constructor(options: ClientTlsFilesOptions) {
    this.#options = options
    this.#seen = this.#look()
    this.#tls = this.#load()
  }

  /** Whether the files on disk cannot be used, so that those of before are. */
  get faulty(): boolean {
    this.current()
    return this.#faulty
  }

  /** Reads the files if they have changed, or could not be used when they were read last. Never throws. */
  current(): ClientTls {
    const seen = this.#look()
    const changed = seen !== this.#seen
    if (!changed && !this.#faulty) return this.#tls
    this.#seen = seen
    const { where, log } = this.#options
    try {
      this.#tls = this.#load()
      this.#faulty = false
      const { commonName, notAfter, warnings = [] } = this.#tls.pair ?? {}
      log.info(
        { where, commonName, notAfter },
        'certificate files were read again: the next connection has them',
      )
      for (const warning of warnings) log.warn({ where }, warning)
    } catch (error) {
      // Also while a certificate is there already and its key is not: then the next look is right.
      if (changed || !this.#faulty)
        log.warn(
          { where, code: codeOf(error) },
          `certificate files cannot be used, and those of before are: ${messageOf(error)}`,
        )
      this.#faulty = true
    }
    return this.#tls
  }

  #load(): ClientTls {
    const { paths, where, clock } = this.#options
    return loadClientTls(paths, { where, now: new Date(clock.now()) })
  }

  #look(): string {
    const { ca, cert, key } = this.#options.paths
    return [ca, cert, key].map(lookOf).join()
  }
}

function lookOf(file: string | undefined): string {
  if (file === undefined) return ''
  try {
    const { ino, size, mtimeNs } = statSync(file, { bigint: true })
    return `${ino}:${size}:${mtimeNs}`
  } catch (error) {
    return codeOf(error)
  }
}
