import { digestOf } from '../../../src/schemas/lock.ts'
import type { SchemaFolder } from '../../../src/schemas/folder.ts'
import { isPublished } from '../../registry/registry.ts'
import type { Listing } from './door.ts'

/** A file of the registry beside that of the folder. */
export interface Beside {
  path: string
  /** `other`: both have one, and the texts differ. */
  standing: 'both' | 'registry' | 'folder' | 'other'
}

/** Each file that the registry or the folder has, by path, without the lock. */
export function besideEachOther({ files }: Listing, { source, digests }: SchemaFolder): Beside[] {
  const own = new Map(
    [...source.files]
      .filter(([path]) => path.includes('/'))
      .map(([path, bytes]) => [path, digests.get(path) ?? digestOf(bytes)] as const),
  )
  const paths = [...new Set([...files.keys(), ...own.keys()])].toSorted()
  return paths.map((path) => ({ path, standing: standingOf(files.get(path), own.get(path)) }))
}

function standingOf(there: string | undefined, here: string | undefined): Beside['standing'] {
  if (there === undefined) return 'folder'
  if (here === undefined) return 'registry'
  return there === here ? 'both' : 'other'
}

const said: Readonly<Record<Beside['standing'], string>> = {
  both: '',
  registry: 'in the registry alone',
  folder: 'in the folder alone: tidegate schema apply',
  other: 'differs',
}

/** What is the same in both is one line for each type; what is not is a line for each file. */
export function besideText({ revision, digest }: Listing, files: readonly Beside[]): string {
  const types = [...new Set(files.map(({ path }) => path.split('/', 1)[0] as string))]
  const lines = types.flatMap((type) => {
    const own = files.filter(({ path }) => path.startsWith(`${type}/`))
    const versions = own
      .filter(({ standing }) => standing !== 'folder')
      .flatMap(({ path }) => /\/(\d+)\.json$/.exec(path)?.[1] ?? [])
      .toSorted((one, other) => Number(one) - Number(other))
    const differing = own.filter(({ standing }) => standing !== 'both')
    return [
      `${type}  ${versions.join(', ') || 'not in the registry'}`,
      ...differing.map(
        ({ path, standing }) =>
          `  ${path}  ${standing === 'other' && isPublished(path) ? 'is published with another text' : said[standing]}`,
      ),
    ]
  })
  const head = revision === 0 ? 'nothing was ever published' : `revision ${revision}, ${digest.slice(0, 12)}`
  return [head, ...lines].join('\n')
}
