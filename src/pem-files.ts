import { X509Certificate } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { codeOf, TidegateError } from './errors.ts'

export type Certificates = [X509Certificate, ...X509Certificate[]]

const certificateBlock = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g
/** Far more than certificates take, and of a revocation list some 20,000: reading it holds the gateway up for about a second (G7). */
export const fileBytesMax = 1 << 20

/** The certificates of a PEM file, the first one being the file's subject. Throws TLS_FILE_*. */
export function readCertificates(file: string, where: string): { pem: Buffer; certificates: Certificates } {
  const pem = readPem(file, where)
  const blocks = pem.toString('latin1').match(certificateBlock) ?? []
  try {
    const [first, ...rest] = blocks.map((block) => new X509Certificate(block))
    if (first !== undefined) return { pem, certificates: [first, ...rest] }
  } catch (error) {
    throw corrupt(file, where, 'its certificate is damaged', error)
  }
  throw corrupt(file, where, `a certificate in PEM was expected and it holds ${contentsOf(pem)}`)
}

/**
 * A regular file of no more than `fileBytesMax`: what is longer, or has no end, is not read.
 * @throws TidegateError `TLS_FILE_MISSING` | `TLS_FILE_UNREADABLE` | `TLS_FILE_TOO_LARGE`
 */
export function readPem(file: string, where: string): Buffer {
  const opened = openOrThrow(file, where)
  try {
    const status = fstatSync(opened)
    if (!status.isFile()) throw unreadable(file, where, 'no regular file')
    if (status.size > fileBytesMax) throw tooLarge(file, where, status.size)
    return readFileSync(opened)
  } catch (error) {
    throw error instanceof TidegateError ? error : unreadable(file, where, codeOf(error), error)
  } finally {
    closeSync(opened)
  }
}

function openOrThrow(file: string, where: string): number {
  try {
    // Or a pipe would hold the program up until somebody writes into it.
    return openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw unreadable(file, where, codeOf(error), error)
    throw new TidegateError('TLS_FILE_MISSING', {
      message: `${where}: there is no file ${file}`,
      retryable: false,
      cause: error,
      hint: 'check the path in the configuration; `tidegate certs` issues certificates for development',
    })
  }
}

function unreadable(file: string, where: string, why: string, cause?: unknown): TidegateError {
  return new TidegateError('TLS_FILE_UNREADABLE', {
    message: `${where}: ${file} cannot be read (${why})`,
    retryable: false,
    cause,
    hint: 'the user Tidegate runs as must be able to read it: a file of mode 0600 that this user owns, or root:tidegate and 0640',
  })
}

function tooLarge(file: string, where: string, bytes: number): TidegateError {
  return new TidegateError('TLS_FILE_TOO_LARGE', {
    message: `${where}: ${file} has ${bytes} bytes, and ${fileBytesMax} are the most`,
    retryable: false,
    hint: 'if it is a revocation list: issue devices from a CA of their own, whose list names no other certificates, and leave expired ones off it',
  })
}

export function contentsOf(pem: Buffer): string {
  const text = pem.toString('latin1')
  if (text.trim() === '') return 'nothing'
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/.test(text))
    return 'an encrypted private key'
  if (/-----BEGIN (\w+ )?PRIVATE KEY-----/.test(text)) return 'a private key'
  if (text.includes('-----BEGIN CERTIFICATE-----'))
    return text.includes('-----END CERTIFICATE-----') ? 'a certificate' : 'a certificate that is cut off'
  return 'something else'
}

export function corrupt(file: string, where: string, what: string, cause?: unknown): TidegateError {
  return new TidegateError('TLS_FILE_CORRUPT', {
    message: `${where}: ${file} cannot be used: ${what}`,
    retryable: false,
    hint: 'copy the file again from where it was issued, or issue it anew',
    cause,
  })
}
