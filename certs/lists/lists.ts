import { createPrivateKey } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, TidegateError } from '../../src/errors.ts'
import { listsStatement, type SignedLists } from '../../src/contract/published-lists.ts'
import { algorithmOf, fingerprintOf, signStatement } from '../../src/contract/signature.ts'
import type { Authority } from '../authority.ts'
import { publicMode, writeWhole } from '../pem-files.ts'

export interface SigningOptions {
  /** As `mqtt.tls.denied` has it; default: whoever was denied by the lists before. */
  deniedFile?: string | undefined
  now: Date
}

/** Nobody. */
const nobody = 'end\n'

/**
 * The next lists of a CA: its `ca.crl` as it lies there, and who is denied, signed with its key. They are kept as `lists.json` beside it before
 * anybody else has them, so that no number is given twice, whatever the clock says.
 * @throws TidegateError CERTS_LISTS: what is there cannot be used; CERTS_FOLDER
 */
export async function signNextLists(
  { dir, keyFile }: Authority,
  { deniedFile, now }: SigningOptions,
): Promise<SignedLists> {
  const file = join(dir, 'lists.json')
  const before = await keptLists(file)
  const crlFile = join(dir, 'ca.crl')
  const lists = {
    number: Math.max(now.getTime(), (before?.number ?? 0) + 1),
    issued: now.toISOString(),
    crl: existsSync(crlFile) ? await text(crlFile) : '',
    denied: deniedFile === undefined ? (before?.denied ?? nobody) : await text(deniedFile),
  }
  const key = createPrivateKey(await readFile(keyFile))
  const algorithm = algorithmOf(key)
  if (algorithm === undefined) throw unusable(keyFile, 'its key is of a kind that signs no lists')
  const signature = await signStatement(listsStatement(lists), key, algorithm)
  const signed = { ...lists, key: fingerprintOf(key), algorithm, signature }
  await writeWhole(file, JSON.stringify(signed), publicMode)
  return signed
}

async function keptLists(file: string): Promise<Pick<SignedLists, 'number' | 'denied'> | undefined> {
  if (!existsSync(file)) return undefined
  const kept = await text(file)
  try {
    const { number, denied } = JSON.parse(kept) as Partial<SignedLists>
    if (Number.isSafeInteger(number) && typeof denied === 'string')
      return { number: number as number, denied }
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
  return new TidegateError('CERTS_LISTS', {
    message: `${file} cannot be used: ${what}`,
    retryable: false,
    hint: 'put the last good one back: gateways take no lists with a number that they have seen',
  })
}
