import type { KeyObject } from 'node:crypto'
import type { Clock } from '../../../src/clock.ts'
import { digestOf } from '../../../src/schemas/lock.ts'
import { signSnapshot } from '../../../src/schemas/snapshot.ts'
import type { Client } from '../../tool/client.ts'

import { planOf, type RegistryState, type Revision } from '../../registry/registry.ts'
import type { Applied, ApplyWish, Verdict } from './apply.ts'

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

  /** As JSON carries them, without what the registry has. */
  async function requestOf({ files, types, strict }: Omit<ApplyWish, 'sign'>) {
    const { files: there } = await list()
    const fresh = [...files].filter(([path, bytes]) => there.get(path) !== digestOf(bytes))
    return {
      files: fresh.map(([path, bytes]) => ({ path, text: Buffer.from(bytes).toString('utf8') })),
      ...(types && types.length > 0 && { types }),
      ...(strict && { strict }),
    }
  }

  return {
    list,
    judge: async (wish) => (await client.post<Verdict>('/v1/schemas/check', await requestOf(wish))).body,
    async apply(wish, { reason, deed, key }) {
      const request = await requestOf(wish)
      const snapshot = key && (await signed(wish, key))
      const body = { ...request, reason, ...(snapshot && { snapshot: snapshot.toString('base64') }) }
      return (await client.post<Applied>('/v1/schemas/apply', body, { key: deed })).body
    },
  }

  async function signed({ files, types }: Omit<ApplyWish, 'sign'>, key: KeyObject): Promise<Buffer> {
    const { state } = planOf(await stateOf(await list(), files), files, types)
    const { revision } = state
    const madeTime = new Date(clock.now()).toISOString()
    return Buffer.from(signSnapshot({ revision, madeTime, files: state.files }, key))
  }
}

function ownOf(path: string, sha256: string, files: ReadonlyMap<string, Uint8Array>): [string, Uint8Array][] {
  const bytes = files.get(path)
  return bytes !== undefined && digestOf(bytes) === sha256 ? [[path, bytes]] : []
}
