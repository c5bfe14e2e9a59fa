import { join } from 'node:path'
import { z } from 'zod'
import { isLoopback } from '../../src/listen.ts'
import { clientTls, clientTlsPaths } from '../../src/settings/client-tls.ts'
import { duration } from '../../src/units.ts'
import type { SchemaOrigin } from './origin.ts'

const file = z.string().min(1)

const snapshotUrl = z.string().superRefine((text, context) => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isOpen = url?.protocol === 'http:' && !isLoopback(url.hostname)
  const message = !/^https?:$/.test(url?.protocol ?? '')
    ? 'must be an address such as https://cloud.example:8443/v1/schemas/snapshot'
    : isOpen
      ? 'must be https://: whoever is on the way would read the token'
      : url?.username !== '' || url.password !== ''
        ? 'must hold no password: put a token into tokenFile'
        : undefined
  if (message !== undefined) context.addIssue({ code: 'custom', message })
})

const snapshot = z
  .strictObject({
    file: file.optional(),
    url: snapshotUrl.optional(),
    keys: z.union([file, z.array(file).min(1).max(16)]),
    every: duration('5m', { min: '1s', max: '7d' }),
    timeout: duration('60s', { min: '1s', max: '1h' }),
    tokenFile: file.optional(),
    tls: clientTls.optional(),
  })
  .refine(({ file, url }) => (file === undefined) !== (url === undefined), {
    message: 'must have either file or url',
  })
  .superRefine(({ url, tokenFile, tls }, context) => {
    for (const [key, value] of Object.entries({ tokenFile, tls }))
      if (url === undefined && value !== undefined)
        context.addIssue({ code: 'custom', path: [key], message: 'is for a url alone' })
  })

/** `schemas` of the configuration: docs/CONFIGURATION.md says what each key means. */
export const schemaSettings = z
  .strictObject({
    folder: file.optional(),
    snapshot: snapshot.optional(),
    unknownTypes: z.enum(['accept', 'reject']).default('accept'),
    formats: z.enum(['checked', 'annotation']).default('checked'),
  })
  .refine(({ folder, snapshot }) => folder === undefined || snapshot === undefined, {
    path: ['snapshot'],
    message: 'must not stand beside folder: schemas come from one place',
  })
  .prefault({})

export type SchemaSettings = z.output<typeof schemaSettings>

/** With every path made absolute. */
export function schemaPaths(schemas: SchemaSettings, absolute: (path: string) => string): SchemaSettings {
  const { folder, snapshot } = schemas
  return {
    ...schemas,
    ...(folder !== undefined && { folder: absolute(folder) }),
    ...(snapshot && {
      snapshot: {
        ...snapshot,
        keys: [snapshot.keys].flat().map(absolute),
        ...(snapshot.file !== undefined && { file: absolute(snapshot.file) }),
        ...(snapshot.tokenFile !== undefined && { tokenFile: absolute(snapshot.tokenFile) }),
        ...(snapshot.tls && { tls: clientTlsPaths(snapshot.tls, absolute) }),
      },
    }),
  }
}

/** Where they come from, in the words of this room. */
export function schemaOrigin({ folder, snapshot }: SchemaSettings, dataDir: string): SchemaOrigin {
  if (folder !== undefined) return { kind: 'folder', folder }
  if (snapshot === undefined) return { kind: 'none' }
  const keeping = { keys: [snapshot.keys].flat(), kept: join(dataDir, 'schemas.snapshot') }
  const { file, url, every, timeout, tokenFile, tls } = snapshot
  if (url === undefined) return { kind: 'file', file: String(file), ...keeping }
  return { kind: 'url', server: { url, tokenFile, tls, timeoutMs: timeout }, everyMs: every, ...keeping }
}
