import { createSecureContext } from 'node:tls'
import { z } from 'zod'
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
