import { statSync } from 'node:fs'
import type { Clock } from '../clock.ts'
import { codeOf, messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import { type ClientTls, type ClientTlsPaths, loadClientTls } from './client-tls.ts'

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
