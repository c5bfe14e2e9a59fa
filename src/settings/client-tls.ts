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
