import { createHash, type KeyObject } from 'node:crypto'
import { z } from 'zod'
import { messageOf, TidegateError } from '../errors.ts'
import { signed, type Signed, verifyStatement } from './signature.ts'

/** Who is not to be let in, as a CA tells it to all gateways (docs/WIRE.md). */
export interface Lists {
  /** It grows from each to the next: of two the one with the higher counts. */
  number: number
  /** RFC 3339; the clock of whoever published it. */
  issued: string
  /** Revocation lists, as in `mqtt.tls.crl`; empty: none. */
  crl: string
  /** Denied devices and serial numbers, as in `mqtt.tls.denied`. */
  denied: string
}

/** As it goes over the wire, in JSON. The key is that of a CA which the gateway trusts with its devices. */
export interface SignedLists extends Lists, Signed {}

/** Of the JSON: each list is at most 1 MiB, as a file is. */
export const listsBytesMax = 4_194_304
const listCharactersMax = 1_048_576

/** The bytes that are signed: they begin with what they are, so that no signature of anything else is one of lists. */
export function listsStatement({ number, issued, crl, denied }: Lists): Buffer {
  return Buffer.from(['tidegate lists v1', number, issued, digestOf(crl), digestOf(denied), ''].join('\n'))
}

function digestOf(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex')
}

const schema: z.ZodType<SignedLists> = z.object({
  number: z.int().min(1),
  issued: z.iso.datetime(),
  crl: z.string().max(listCharactersMax),
  denied: z.string().max(listCharactersMax),
  ...signed,
})

/**
 * Lists that one of these keys has signed.
 * @throws TidegateError `LISTS_INVALID`: they are cut, altered, or signed by nobody who is trusted
 */
export function verifyLists(json: Uint8Array, keys: Iterable<KeyObject>): SignedLists {
  if (json.length > listsBytesMax) throw invalid(`${json.length} bytes, and ${listsBytesMax} are allowed`)
  const lists = read(json)
  const statement = listsStatement(lists)
  for (const key of keys) if (verifyStatement(statement, lists, key)) return lists
  throw invalid(`key ${lists.key} is none of a CA in mqtt.tls.ca, or has not signed them as they are`)
}

function read(json: Uint8Array): SignedLists {
  try {
    return schema.parse(JSON.parse(Buffer.from(json).toString('utf8')))
  } catch (error) {
    throw invalid(
      `they cannot be read (${error instanceof z.ZodError ? z.prettifyError(error) : messageOf(error)})`,
    )
  }
}

function invalid(what: string): TidegateError {
  return new TidegateError('LISTS_INVALID', {
    message: `published lists are refused: ${what}`,
    retryable: false,
    hint: 'publish them again with `tidegate lists publish`, where the key of a CA in mqtt.tls.ca is',
  })
}
