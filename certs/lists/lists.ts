import { createPrivateKey } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { X509Crl } from '@peculiar/x509'
import { messageOf, TidegateError } from '../../src/errors.ts'
import { parseDenied } from '../../src/contract/denied.ts'
import { listsStatement, numberFaultOf, type SignedLists } from '../../src/contract/published-lists.ts'
import { algorithmOf, fingerprintOf, signStatement } from '../../src/contract/signature.ts'
import type { Authority } from '../authority.ts'
import { publicMode, writeWhole } from '../pem-files.ts'
import { revokedSerials, suspendedFile } from '../revoke.ts'

export interface SigningOptions {
  /** As `mqtt.tls.denied` has it; default: who is suspended (`denied.txt`), or where that is not, whoever was denied by the lists before. */
  deniedFile?: string | undefined
  /** Nobody is to be denied, whoever was before. */
  nobodyDenied?: boolean | undefined
  /** None of the lists before had a revocation list, if there are any: `ca.crl` is not missed. */
  withoutCrl?: boolean | undefined
  now: Date
}

/** Nobody. */
const nobody = 'end\n'

type Kept = Omit<SignedLists, 'key' | 'algorithm' | 'signature'>

/**
 * The next lists of a CA: its `ca.crl` as it lies there, and who is denied, signed with its key. They are kept as `lists.json` beside it before
 * anybody else has them, so that no number is given twice, whatever the clock says.
 * @throws TidegateError CERTS_LISTS: what is there cannot be used, or would let in who is out without anybody having said so; CERTS_LIST:
 * `ca.crl` is not the CA's; DENIED_INVALID; CERTS_FOLDER
 */
export async function signNextLists(
  authority: Authority,
  { now, withoutCrl = false, ...choice }: SigningOptions,
): Promise<SignedLists> {
  const { dir, keyFile } = authority
  const file = join(dir, 'lists.json')
  const before = await keptLists(file)
  const lists = {
    ...timeOf(now, before),
    crl: await crlOf(authority, before, withoutCrl),
    denied: await deniedOf(authority, before, choice),
  }
  const fault = numberFaultOf(lists, before?.number)
  if (fault !== undefined) throw refused(fault, 'set the clock: gateways refuse such lists')
  const key = createPrivateKey(await readFile(keyFile))
  const algorithm = algorithmOf(key)
  if (algorithm === undefined) throw unusable(keyFile, 'its key is of a kind that signs no lists')
  const signature = await signStatement(listsStatement(lists), key, algorithm)
  const signed = { ...lists, key: fingerprintOf(key), algorithm, signature }
  await writeWhole(file, JSON.stringify(signed), publicMode)
  return signed
}

/** Never before that of the lists before: a number is not far from the time of issue. */
function timeOf(now: Date, before: Kept | undefined): Pick<Kept, 'number' | 'issued'> {
  const issuedMs = Math.max(now.getTime(), before === undefined ? 0 : Date.parse(before.issued))
  return {
    number: Math.max(now.getTime(), (before?.number ?? 0) + 1),
    issued: new Date(issuedMs).toISOString(),
  }
}

/** What every gateway would refuse is not published: a revocation list that is damaged, older, or gone. */
async function crlOf(authority: Authority, before: Kept | undefined, withoutCrl: boolean): Promise<string> {
  const file = join(authority.dir, 'ca.crl')
  const crl = existsSync(file) ? await text(file) : ''
  if (crl === '') {
    if (before !== undefined && before.crl !== '')
      throw refused(
        `${file} is gone, and the lists before had one: gateways refuse lists without it`,
        'put the last good one back',
      )
    if (before === undefined && !withoutCrl)
      throw refused(
        `there is no ${file}, and no lists.json that tells whether there was one before`,
        'make one with `tidegate certs revoke`, put the last good one back, or say --without-crl',
      )
    return ''
  }
  await revokedSerials(authority)
  const issuedMs = thisUpdateOf(crl, file)
  if (before !== undefined && before.crl !== '' && issuedMs < thisUpdateOf(before.crl, 'lists.json'))
    throw refused(`${file} is older than that of the lists before`, 'put the newest one back')
  return crl
}

/** Of the first list, which is the CA's own; all others are proven to be some. */
function thisUpdateOf(pem: string, file: string): number {
  const blocks = pem.match(/-----BEGIN X509 CRL-----[\s\S]*?-----END X509 CRL-----/g) ?? []
  if (blocks.length === 0 || pem.split('-----BEGIN').length - 1 !== blocks.length)
    throw unusable(file, 'it is cut off, or holds something else than revocation lists in PEM')
  try {
    const [first = Infinity] = blocks.map((block) => new X509Crl(block).thisUpdate.getTime())
    return first
  } catch (error) {
    throw unusable(file, messageOf(error))
  }
}

async function deniedOf(
  authority: Authority,
  before: Kept | undefined,
  { deniedFile: named, nobodyDenied = false }: Pick<SigningOptions, 'deniedFile' | 'nobodyDenied'>,
): Promise<string> {
  const file = join(authority.dir, 'lists.json')
  const own = suspendedFile(authority)
  const deniedFile = named ?? (existsSync(own) && !nobodyDenied ? own : undefined)
  if (deniedFile === undefined && nobodyDenied) return nobody
  const denied = deniedFile === undefined ? before?.denied : await text(deniedFile)
  if (denied === undefined)
    throw refused(
      `there is no ${file}: who was denied before is not known`,
      'put the newest back, name who is denied with --denied, or say --nobody-denied',
    )
  const isNobody = (one: string): boolean => {
    const { devices, serials } = parseDenied(one, deniedFile ?? file)
    return devices.size + serials.size === 0
  }
  if (!nobodyDenied && isNobody(denied) && before !== undefined && !isNobody(before.denied))
    throw refused(
      `${deniedFile} denies nobody, and the lists before did`,
      'name the right file, or say --nobody-denied',
    )
  return denied
}

async function keptLists(file: string): Promise<Kept | undefined> {
  if (!existsSync(file)) return undefined
  const kept = await text(file)
  try {
    const { number, issued, crl, denied } = JSON.parse(kept) as Kept
    const isWhole = [issued, crl, denied].every((one) => typeof one === 'string')
    if (Number.isSafeInteger(number) && isWhole && Date.parse(issued) > 0)
      return { number, issued, crl, denied }
  } catch {
    // Said below.
  }
  throw unusable(file, 'it holds no lists')
}

function text(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: unknown) => {
    throw unusable(file, messageOf(cause))
  })
}

function unusable(file: string, what: string): TidegateError {
  return refused(
    `${file} cannot be used: ${what}`,
    'put the last good one back: gateways take no lists with a number that they have seen',
  )
}

function refused(message: string, hint: string): TidegateError {
  return new TidegateError('CERTS_LISTS', { message, retryable: false, hint })
}
