import { stat } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { codeOf } from '../../../src/errors.ts'
import { allOf } from '../../../src/settings/all-of.ts'
import { type KeyPair, loadCas, loadPairOf, type TrustedCas, usable } from '../../../src/tls-files.ts'
import { authoritiesOf } from './credential.ts'
import { type Denied, loadDenied, nobodyDenied } from '../../../src/contract/denied.ts'
import type { EntranceCas, TrustInForce } from './judgement.ts'
import { type PublishedGrounds, type PublishedInForce, PublishedFile } from './published.ts'
import { RevocationListFile } from './revocation-lists.ts'
import { loadUsers, type Users } from '../../users/users-file.ts'

/** The files of `mqtt.tls`, and `mqtt.users`. */
export interface TrustFiles {
  ca: string
  cert: string
  key: string
  crl?: string | undefined
  denied?: string | undefined
  /** Where lists that come down with the uplink are kept. */
  published?: string | undefined
  users?: string | undefined
}

/** What was read at the start, of files that looked like this. */
export interface LoadedTrust extends TrustInForce {
  marks: string
  /** Undefined: there is no `mqtt.tls.crl`. */
  listFile: RevocationListFile | undefined
  publishedFile: PublishedFile | undefined
  /** What was kept of published lists cannot be used, and is none of what a person has configured: the gateway starts without it. */
  publishedFault?: unknown
}

const where = 'the MQTT listener (mqtt.tls)'

/**
 * All that the entrance goes by, proven.
 * @throws TidegateError `TLS_*` | `CRL_*` | `DENIED_INVALID` | `USERS_*` | `START_FAULTS`
 */
export async function loadTrust(files: TrustFiles, now: Date): Promise<LoadedTrust> {
  // Before they are read, so that what is written meanwhile is read again.
  const marks = await marksOf(files)
  const listFile = files.crl === undefined ? undefined : new RevocationListFile(files.crl)
  const withCas = async () => {
    const cas = loadCasOf(files)
    const pair = (): KeyPair => loadPair(files, cas, now)
    return { cas, ...(await allOf({ pair, lists: async () => listFile?.read(cas.authorities) })) }
  }
  const { listener, denied, users } = await allOf({
    listener: withCas,
    denied: () => loadDeniedOf(files),
    users: () => loadUsersOf(files),
  })
  const published = await loadPublished(files, { ...listener.cas, lists: listener.lists, denied })
  return { ...listener, denied, users, marks, listFile, ...published }
}

type LoadedPublished = Pick<LoadedTrust, 'published' | 'publishedFile' | 'publishedFault'>

async function loadPublished(
  { published: path }: TrustFiles,
  grounds: PublishedGrounds,
): Promise<LoadedPublished> {
  if (path === undefined) return { published: undefined, publishedFile: undefined }
  const publishedFile = new PublishedFile(path)
  const read = (): Promise<PublishedInForce | undefined> => publishedFile.read(grounds)
  return read().then(
    (published) => ({ published, publishedFile }),
    (publishedFault: unknown) => ({ published: undefined, publishedFile, publishedFault }),
  )
}

/** @throws TidegateError `TLS_FILE_*` | `TLS_UNUSABLE` */
export function loadCasOf({ ca }: TrustFiles): EntranceCas {
  const cas = loadCas(ca, where)
  return usable(where, () => {
    createSecureContext({ ca: cas.ca })
    return { ...cas, authorities: authoritiesOf(cas.certificates) }
  })
}

/** What the listener shows. @throws TidegateError `TLS_*` */
export function loadPair({ cert, key }: TrustFiles, cas: TrustedCas, now: Date): KeyPair {
  const pair = loadPairOf(cas, { certFile: cert, keyFile: key, where, kind: 'server', now })
  return usable(where, () => {
    createSecureContext({ cert: pair.cert, key: pair.key })
    return pair
  })
}

/** @throws TidegateError `TLS_FILE_*` | `DENIED_INVALID` */
export function loadDeniedOf({ denied }: TrustFiles): Denied {
  return denied === undefined ? nobodyDenied : loadDenied(denied)
}

/** @throws TidegateError `USERS_UNREADABLE` | `USERS_INVALID` */
export async function loadUsersOf({ users }: TrustFiles): Promise<Users | undefined> {
  return users === undefined ? undefined : await loadUsers(users)
}

/**
 * The files as they lie there now, in a text that is another when one of them was written, replaced, or reached by another link:
 * links are followed.
 */
export async function marksOf(files: TrustFiles): Promise<string> {
  const { ca, cert, key, crl, denied, published, users } = files
  const paths = [ca, cert, key, crl, denied, published, users].filter((path) => path !== undefined)
  const marks: string[] = []
  // One after the other: a disk that hangs has one of the threads that write to another, and not all.
  for (const path of paths)
    try {
      const { dev, ino, size, mtimeMs, ctimeMs } = await stat(path)
      marks.push([dev, ino, size, mtimeMs, ctimeMs].join(' '))
    } catch (error) {
      marks.push(codeOf(error))
    }
  return marks.join('\n')
}
