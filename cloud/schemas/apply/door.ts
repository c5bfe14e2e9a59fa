import type { KeyObject } from 'node:crypto'
import type { Clock } from '../../../src/clock.ts'
import { codeOf } from '../../../src/errors.ts'
import { digestOf } from '../../../src/schemas/lock.ts'
import type { Client } from '../../tool/client.ts'
import { lackingIn, planOf, type RegistryState, type Revision } from '../../registry/registry.ts'
import { type Applied, type ApplyWish, signingWith, type Verdict } from './apply.ts'

/** What is published, without the texts. */
export interface Listing extends Revision {
  /** SHA-256 by path. */
  files: ReadonlyMap<string, string>
}

/** A registry as the command sees it: the database itself, or the API of a cloud. */
export interface Door {
  list(): Promise<Listing>
  judge(wish: Omit<ApplyWish, 'sign'>): Promise<Verdict>
  /** `key`: what comes of it is signed with. */
  apply(
    wish: Omit<ApplyWish, 'sign'>,
    doing: Doing,
  ): Promise<Pick<Applied, 'revision' | 'digest' | 'isSigned'>>
}

export interface Doing {
  reason: string
  /** The idempotency key. */
  deed: string
  key: KeyObject | undefined
}

interface Listed extends Revision {
  files: readonly { path: string; sha256: string }[]
}

/** By the API: what is new travels, and nothing else; what is signed is put together and signed here. */
export function apiDoor(client: Client, clock: Pick<Clock, 'now'>): Door {
  async function list(): Promise<Listing> {
    const { body } = await client.get<Listed>('/v1/schemas')
    return {
      revision: body.revision,
      digest: body.digest,
      files: new Map(body.files.map(({ path, sha256 }) => [path, sha256])),
    }
  }

  /** Texts of the registry that are not among these files, asked for by type. */
  async function stateOf(listing: Listing, files: ReadonlyMap<string, Uint8Array>): Promise<RegistryState> {
    const own = new Map([...listing.files].flatMap(([path, sha256]) => ownOf(path, sha256, files)))
    const types = [...listing.files.keys()].filter((path) => !own.has(path)).map((path) => path.split('/')[0])
    for (const type of new Set(types)) {
      const { body } = await client.get<{ files: { path: string; text: string }[] }>(`/v1/schemas/${type}`)
      for (const { path, text } of body.files) own.set(path, Buffer.from(text))
    }
    return { revision: listing.revision, digest: listing.digest, files: own }
  }

  return {
    list,
    async judge(wish) {
      const listing = await list()
      const { body } = await client.post<Verdict>('/v1/schemas/check', requestOf(wish, listing))
      // Who is asked has what is new alone, and knows not what else there is here.
      return { ...body, lacking: lackingIn([...listing.files.keys()], wish.files, wish.types) }
    },
    async apply(wish, { reason, deed, key }) {
      const listing = await list()
      const request = requestOf(wish, listing)
      const snapshot = key && (await signed(wish, listing, key))
      const body = { ...request, reason, ...(snapshot && { snapshot: snapshot.toString('base64') }) }
      return (await client.post<Applied>('/v1/schemas/apply', body, { key: deed })).body
    },
  }

  /** Undefined: the state that comes of it is signed with this key already. */
  async function signed(
    { files, types }: Omit<ApplyWish, 'sign'>,
    listing: Listing,
    key: KeyObject,
  ): Promise<Buffer | undefined> {
    const { state } = planOf(await stateOf(listing, files), files, types)
    if (state.revision === 0) return undefined
    const snapshot = signingWith(key, clock)(state, await servedBy(client))
    return snapshot && Buffer.from(snapshot)
  }
}

function ownOf(path: string, sha256: string, files: ReadonlyMap<string, Uint8Array>): [string, Uint8Array][] {
  const bytes = files.get(path)
  return bytes !== undefined && digestOf(bytes) === sha256 ? [[path, bytes]] : []
}

/** As JSON carries them, without what the registry has. */
function requestOf({ files, types, strict }: Omit<ApplyWish, 'sign'>, { files: there }: Listing) {
  const fresh = [...files].filter(([path, bytes]) => there.get(path) !== digestOf(bytes))
  return {
    files: fresh.map(([path, bytes]) => ({ path, text: Buffer.from(bytes).toString('utf8') })),
    ...(types && types.length > 0 && { types }),
    ...(strict && { strict }),
  }
}

/** The newest snapshot, in an envelope that says what it said; undefined: none was ever signed. */
async function servedBy(client: Client): Promise<Uint8Array | undefined> {
  try {
    const { body } = await client.get<object>('/v1/schemas/snapshot')
    return Buffer.from(JSON.stringify(body))
  } catch (error) {
    if (codeOf(error) === 'SCHEMA_SNAPSHOT_NONE') return undefined
    throw error
  }
}
