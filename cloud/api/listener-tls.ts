import { statSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { Clock } from '../../src/clock.ts'
import { codeOf, isAbort, messageOf } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import { type KeyPair, loadKeyPair, usable } from '../../src/tls-files.ts'

const where = 'the API (api.tls)'
const lookEveryMs = 10_000

/** What is shown, and how its files were right before they were read: whatever is put in their place since is seen. */
export interface ListenerPair extends KeyPair {
  seen: string
}

/** @throws TidegateError `TLS_*` */
export function loadListenerPair(files: { cert: string; key: string }, now: Date): ListenerPair {
  const { cert, key } = files
  const seen = look(files)
  const pair = loadKeyPair({ certFile: cert, keyFile: key, where, kind: 'server', now })
  usable(where, () => createSecureContext({ cert: pair.cert, key: pair.key }))
  return { ...pair, seen }
}

export interface RenewingOptions {
  files: { cert: string; key: string }
  /** Of what is shown now. */
  seen: string
  /** Called with what is to be shown from now on. */
  renew: (pair: KeyPair) => void
  clock: Clock
  log: Logger
}

/** Looks at the files every 10 s: a certificate is renewed by putting its files in place. What cannot be used is told, and that of before stays. */
export function startRenewing({ files, renew, clock, log, ...options }: RenewingOptions): {
  close(): Promise<void>
} {
  const stopping = new AbortController()
  let { seen } = options

  async function run(): Promise<void> {
    for (;;) {
      await clock.sleep(lookEveryMs, stopping.signal)
      const now = look(files)
      if (now === seen) continue
      seen = now
      try {
        const pair = loadListenerPair(files, new Date(clock.now()))
        renew(pair)
        log.info(
          { where, commonName: pair.commonName, notAfter: pair.notAfter },
          'certificate files were read again',
        )
      } catch (error) {
        log.warn(
          { where, code: codeOf(error) },
          `certificate files cannot be used, and those of before are: ${messageOf(error)}`,
        )
      }
    }
  }

  const running = run().catch((error: unknown) => {
    if (!isAbort(error)) throw error
  })
  return {
    close() {
      stopping.abort()
      return running
    },
  }
}

function look({ cert, key }: { cert: string; key: string }): string {
  return [cert, key]
    .map((file) => {
      try {
        const { ino, size, mtimeNs } = statSync(file, { bigint: true })
        return `${ino}:${size}:${mtimeNs}`
      } catch (error) {
        return codeOf(error)
      }
    })
    .join()
}
