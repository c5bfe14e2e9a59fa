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
/** Of the queue of one gateway: what comes over it pushes out what is there. */
export const listsQueueArguments = {
  'x-max-length': 1,
  'x-max-length-bytes': listsBytesMax,
  'x-overflow': 'drop-head',
} as const
const listCharactersMax = 1_048_576

/** A number is the time of issue in ms, or one more than the last: nobody can use all of them up at once. */
const numberAheadMsMax = 86_400_000
/** What a clock that has never been set says, or one that nobody has looked at, is no time of issue. */
const issuedMs = { min: Date.UTC(2020, 0), max: Date.UTC(2100, 0) }
/** A clock that has run away takes the gateways no further than this with it. */
export const numberStepMax = 10 * 365 * 86_400_000

/** What is wrong with a number at this time of issue, after that of the lists before, if there are any. */
export function numberFaultOf(
  { number, issued }: Pick<Lists, 'number' | 'issued'>,
  before?: number,
): string | undefined {
  const atMs = Date.parse(issued)
  if (atMs < issuedMs.min || atMs >= issuedMs.max)
    return `they were issued ${issued}: that is the time of no clock that is set`
  if (number > atMs + numberAheadMsMax)
    return `their number ${number} is more than a day ahead of their time of issue, ${issued}`
  if (before !== undefined && number > before + numberStepMax)
    return `their number ${number} is more than ten years ahead of ${before}, the one before`
  return undefined
}

/** The bytes that are signed: they begin with what they are, so that no signature of anything else is one of lists. */
export function listsStatement({ number, issued, crl, denied }: Lists): Buffer {
  return Buffer.from(['tidegate lists v1', number, issued, digestOf(crl), digestOf(denied), ''].join('\n'))
}

function digestOf(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex')
}

/** The message as a gateway demands it, but for who has signed it. */
export const signedListsSchema: z.ZodType<SignedLists> = z.object({
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
  if (json.length === 0) throw invalidLists(`they are empty, or were larger than ${listsBytesMax} bytes`)
  if (json.length > listsBytesMax)
    throw invalidLists(`${json.length} bytes, and ${listsBytesMax} are allowed`)
  const lists = read(json)
  const fault = numberFaultOf(lists)
  if (fault !== undefined) throw invalidLists(fault)
  const statement = listsStatement(lists)
  for (const key of keys) if (verifyStatement(statement, lists, key)) return lists
  throw invalidLists(
    `key ${lists.key} is none of a root CA in mqtt.tls.ca that counts, or has not signed them as they are`,
  )
}

function read(json: Uint8Array): SignedLists {
  try {
    return signedListsSchema.parse(JSON.parse(Buffer.from(json).toString('utf8')))
  } catch (error) {
    throw invalidLists(
      `they cannot be read (${error instanceof z.ZodError ? z.prettifyError(error) : messageOf(error)})`,
    )
  }
}

export function invalidLists(what: string): TidegateError {
  return new TidegateError('LISTS_INVALID', {
    message: `published lists are refused: ${what}`,
    retryable: false,
    hint: 'publish them again with `tidegate lists publish`, where the key of the root CA in mqtt.tls.ca is',
  })
}
