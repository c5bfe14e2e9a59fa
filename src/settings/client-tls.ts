import { z } from 'zod'

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
