import { appendFile, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { codeOf, TidegateError } from '../src/errors.ts'
import { publicMode } from './pem-files.ts'

/** Who a certificate is for. Of a client certificate, it is written into it as `urn:tidegate:<role>:<name>`. */
export const roles = ['device', 'gateway', 'cloud', 'bootstrap', 'server'] as const
export type Role = (typeof roles)[number]

/** Where the certificate of somebody lies in the folder of its CA. */
export function folderOf(role: Role): string {
  return { device: 'devices', gateway: 'gateways', cloud: '.', server: '.', bootstrap: 'bootstrap' }[role]
}

const entrySchema = z.object({
  /** Hexadecimal, lower case. */
  serialNumber: z.string(),
  role: z.enum(roles),
  commonName: z.string(),
  /** ISO 8601. */
  issuedAt: z.string(),
  notAfter: z.string(),
})

/** One certificate of a CA. */
export type Issued = z.infer<typeof entrySchema>

/**
 * Every certificate that a CA has issued, a line of JSON each, in `issued.jsonl` beside it: a file of a certificate is replaced when it is
 * issued anew, and the one before is as good until it ends or is taken back.
 */
export function registerFile(dir: string): string {
  return join(dir, 'issued.jsonl')
}

/** Before the certificate is given away. @throws TidegateError CERTS_FOLDER */
export async function register(dir: string, issued: Issued): Promise<void> {
  const file = registerFile(dir)
  try {
    await mkdir(dir, { recursive: true })
    // Its own line, also behind one that a crash has cut off.
    await appendFile(file, `\n${JSON.stringify(issued)}\n`, { mode: publicMode, flush: true })
  } catch (error) {
    throw new TidegateError('CERTS_FOLDER', {
      message: `cannot write ${file} (${codeOf(error)})`,
      retryable: false,
      hint: 'choose a folder this user may write to (--dir) on a disk that has room',
      cause: error,
    })
  }
}

/** In order of issue; empty for a CA that has issued nothing since there are registers. A certificate whose line a crash has cut off was given to nobody. */
export async function readRegister(dir: string): Promise<Issued[]> {
  const text = await readFile(registerFile(dir), 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return ''
    throw error
  })
  return text.split('\n').flatMap((line) => {
    try {
      return [entrySchema.parse(JSON.parse(line))]
    } catch {
      return []
    }
  })
}
