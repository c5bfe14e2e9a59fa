import { z } from 'zod'
import { schemaBodyBytesMax } from '../rules/settings.ts'
import { digestOf } from '../../../src/schemas/lock.ts'
import { readTypeFile, typeFileName } from '../../../src/schemas/type-file.ts'
import { filesByType, type RegistryState, typeOf, versionsIn } from '../../registry/registry.ts'
import type { RevisionRecord } from '../../registry/registry-postgres.ts'
import { type ApplyWish, signedElsewhere } from '../../schemas/apply/apply.ts'
import { Refusal } from '../rules/problem.ts'
import { type Caller, hasRight } from '../rules/roles.ts'
import { fileItem, revisionName, verdict } from '../rules/schema-shapes.ts'
import { time } from '../rules/shapes.ts'
import { deedOf, offered, reason, refuseNarrowed, word } from './asking.ts'
import { type Asked, type Parts, route, type Route } from './route.ts'

const tag = 'Schemas'
const typeItem = z.object({
  type: z.string(),
  versions: z.array(z.int()),
  retired: z.array(z.int()),
  compatibility: z.string(),
  owner: z.string().nullable(),
  description: z.string().nullable(),
})

const ofDeeds = { description: 'for those with the right deeds, who are for all types' }

const registryAnswer = z.object({
  ...revisionName,
  types: z.array(typeItem),
  files: z.array(fileItem),
  revisions: z.array(
    z.object({
      ...revisionName,
      appliedAt: time,
      actor: z.string().optional().meta(ofDeeds),
      reason: z.string().optional().meta(ofDeeds),
      isSigned: z.boolean(),
    }),
  ),
  inUse: z
    .object({
      origin: z.string().meta({ description: 'none, folder or registry' }),
      revision: z.int().nullable(),
      digest: z.string().nullable(),
      types: z.int(),
      absent: z.array(z.string()),
      fault: z.object({ code: z.string(), message: z.string() }).nullable(),
    })
    .meta({ description: 'of the instance that answers' }),
})

const part = ({ schemas }: Parts) => offered(schemas, 'show or publish schemas')

/** Those that the caller is for. */
function isSeenBy({ types }: Caller, path: string): boolean {
  return types === undefined || types.includes(typeOf(path))
}

type TypeItem = z.output<typeof typeItem>

/** As its files say it; what is published was compiled before it was, and is not again for whoever asks. */
function typeItemOf(type: string, files: ReadonlyMap<string, Uint8Array>): TypeItem {
  const name = `${type}/${typeFileName}`
  const bytes = files.get(name)
  const { settings } = readTypeFile(bytes && Buffer.from(bytes).toString(), name)
  return {
    type,
    versions: versionsIn(files.keys()),
    retired: settings.retired,
    compatibility: settings.compatibility,
    owner: settings.owner ?? null,
    description: settings.description ?? null,
  }
}

const listed = new WeakMap<RegistryState, readonly TypeItem[]>()

/** Of a state they are read once, whoever asks, with time for others in between: it is a cloud at work that is asked. */
async function knownTypes(state: RegistryState): Promise<readonly TypeItem[]> {
  const known = listed.get(state)
  if (known !== undefined) return known
  const types: TypeItem[] = []
  for (const [type, files] of filesByType(state.files)) {
    await new Promise((resume) => setImmediate(resume))
    types.push(typeItemOf(type, files))
  }
  listed.set(state, types)
  return types
}

/** Who has published, and why, is a deed like any; its reason may be about types that others are for. */
function revisionFor(caller: Caller, { actor, reason, ...revision }: RevisionRecord) {
  const isShown = hasRight(caller, 'deeds') && caller.types === undefined
  return isShown ? { ...revision, actor, reason } : revision
}

/** Its message names files, of whichever type. */
function faultFor({ types }: Caller, { code, message }: { code: string; message: string }) {
  return { code, message: types === undefined ? message : 'what is there now cannot be used' }
}

const listSchemas = route({
  method: 'get',
  path: '/v1/schemas',
  tag,
  summary: 'What is published: types, files, the last revisions; and what this instance judges by',
  right: 'see',
  answer: registryAnswer,
  problems: ['SCHEMA_REGISTRY'],
  async handle({ caller }, parts) {
    const desk = part(parts)
    const state = await desk.state()
    const { origin, revision = null, digest = null, types, absent, fault = null } = desk.inUse()
    return {
      version: state.digest,
      body: {
        revision: state.revision,
        digest: state.digest,
        types: (await knownTypes(state)).filter(({ type }) => isSeenBy(caller, type)),
        files: [...state.files]
          .filter(([path]) => isSeenBy(caller, path))
          .map(([path, bytes]) => ({ path, sha256: digestOf(bytes) })),
        revisions: (await desk.revisions(20)).map((one) => revisionFor(caller, one)),
        inUse: {
          origin,
          revision,
          digest,
          types,
          absent: absent.filter((step) => isSeenBy(caller, step)),
          fault: fault && faultFor(caller, fault),
        },
      },
    }
  },
})

const typeName = word(128)

const showType = route({
  method: 'get',
  path: '/v1/schemas/{type}',
  tag,
  summary: 'An event type with all of its files',
  right: 'see',
  params: z.strictObject({ type: typeName }),
  answer: typeItem.extend({ files: z.array(fileItem.extend({ text: z.string() })) }),
  problems: ['SCHEMA_UNKNOWN', 'SCHEMA_REGISTRY'],
  async handle({ params: { type }, caller }, parts) {
    const state = await part(parts).state()
    const own = filesByType(state.files).get(type)
    if (own === undefined || !isSeenBy(caller, type)) throw noSuchSchema()
    const files = [...own].map(([path, bytes]) => ({
      path,
      sha256: digestOf(bytes),
      text: Buffer.from(bytes).toString(),
    }))
    return { body: { ...typeItemOf(type, own), files } }
  },
})

const showVersion = route({
  method: 'get',
  path: '/v1/schemas/{type}/{version}',
  tag,
  summary: 'A version of an event type: its JSON Schema',
  right: 'see',
  params: z.strictObject({
    type: typeName,
    version: z
      .string()
      .regex(/^[1-9]\d{0,5}$/)
      .transform(Number)
      .meta({ type: 'integer' }),
  }),
  answer: z.object({ type: z.string(), version: z.int(), sha256: z.string(), schema: z.unknown() }),
  problems: ['SCHEMA_UNKNOWN', 'SCHEMA_REGISTRY'],
  async handle({ params: { type, version }, caller }, parts) {
    const { files } = await part(parts).state()
    const bytes = files.get(`${type}/${version}.json`)
    if (bytes === undefined || !isSeenBy(caller, type)) throw noSuchSchema()
    const sha256 = digestOf(bytes)
    const schema = JSON.parse(Buffer.from(bytes).toString()) as unknown
    return { version: sha256, body: { type, version, sha256, schema } }
  },
})

const fetchSnapshot = route({
  method: 'get',
  path: '/v1/schemas/snapshot',
  tag,
  summary: 'The signed snapshot of the newest revision that was signed, as it was signed; for gateways',
  right: 'snapshot',
  answer: z.unknown(),
  raw: 'application/vnd.tidegate.schemas.dsse+json',
  problems: ['SCHEMA_SNAPSHOT_NONE', 'OUT_OF_SCOPE'],
  async handle({ caller, ifNoneMatch }, parts) {
    refuseNarrowed(caller)
    const desk = part(parts)
    const name = await desk.snapshotName()
    if (name === undefined) throw noSnapshot()
    // Its bytes are read for those who have not got them.
    if (ifNoneMatch(name.sha256)) return { body: null, version: name.sha256, status: 304 }
    const found = await desk.snapshot()
    if (found === undefined) throw noSnapshot()
    return { body: null, version: found.sha256, bytes: found.bytes }
  },
})

const wishFields = {
  files: z
    .array(z.strictObject({ path: z.string().max(300), text: z.string() }))
    .max(5_000)
    .meta({ description: 'as in a folder of schemas; what is published already may be left out' }),
  types: z
    .array(typeName)
    .max(1_000)
    .optional()
    .meta({ description: 'of these files only those of these types' }),
  strict: z.boolean().optional(),
}

const checkSchemas = route({
  method: 'post',
  path: '/v1/schemas/check',
  tag,
  summary: 'What would become of these files: compatibility, what is stored; nothing is written',
  right: 'schemas',
  body: z.strictObject(wishFields),
  bodyBytesMax: schemaBodyBytesMax,
  asks: true,
  answer: verdict,
  problems: [
    'SCHEMA_FOLDER',
    'SCHEMA_PUBLISHED',
    'SCHEMA_REGISTRY',
    'SCHEMA_REGISTRY_FULL',
    'OUT_OF_SCOPE',
    'TOOK_TOO_LONG',
  ],
  async handle({ body, caller }, parts) {
    return { body: await part(parts).judge(wishOf(body, caller)) }
  },
})

const applyAnswer = z.object({
  outcome: z.string().meta({ description: 'applied, or nothing: all of it is published' }),
  ...revisionName,
  isSigned: z.boolean().meta({ description: 'a snapshot was added' }),
})

const applyRoute = route({
  method: 'post',
  path: '/v1/schemas/apply',
  tag,
  summary: 'Publishes what is new of these files, for good',
  right: 'schemas',
  body: z.strictObject({
    ...wishFields,
    reason,
    snapshot: z.base64().optional().meta({
      description: 'the signed snapshot of the state that comes of it, base64; the key stays with who signs',
    }),
  }),
  bodyBytesMax: schemaBodyBytesMax,
  answer: applyAnswer,
  problems: [
    'SCHEMA_REFUSED',
    'SCHEMA_FOLDER',
    'SCHEMA_PUBLISHED',
    'SCHEMA_REGISTRY',
    'SCHEMA_REGISTRY_FULL',
    'SCHEMA_REGISTRY_MOVED',
    'SCHEMA_SNAPSHOT',
    'OUT_OF_SCOPE',
    'TOOK_TOO_LONG',
  ],
  async handle(asked, parts) {
    const { body, caller } = asked
    const sign =
      body.snapshot === undefined ? {} : { sign: signedElsewhere(Buffer.from(body.snapshot, 'base64')) }
    const wish: ApplyWish = { ...wishOf(body, caller), ...sign }
    const deed = deedOf(asked as Asked<unknown, unknown, unknown>, body.reason, wish)
    const { outcome, revision, digest, isSigned, judged } = await part(parts).apply(deed)
    if (judged && outcome === 'refused') throw refusedFor(judged.checked, judged.stored?.ok ?? true)
    return { body: { outcome, revision, digest, isSigned } }
  },
})

function wishOf(
  {
    files,
    types = [],
    strict = false,
  }: { files: { path: string; text: string }[]; types?: string[] | undefined; strict?: boolean | undefined },
  caller: Caller,
): ApplyWish {
  refuseNarrowed({ ...caller, groups: caller.groups, types: undefined })
  const outside = files.find(({ path }) => !isSeenBy(caller, path))
  if (outside !== undefined) refuseNarrowed(caller)
  return { files: new Map(files.map(({ path, text }) => [path, Buffer.from(text)])), types, strict }
}

type Checked = Awaited<ReturnType<NonNullable<Parts['schemas']>['judge']>>['checked']

function refusedFor({ faults, types }: Checked, isStoredFine: boolean): Refusal {
  const found = types.flatMap(({ comparisons }) =>
    comparisons.flatMap(({ type, version, against, findings }) =>
      findings
        .filter(({ standing }) => standing === 'breaks' || standing === 'unknown')
        .map(({ rule, path }) => ({
          file: `${type}/${version}.json`,
          text: `${rule} at ${path || 'the top'}, against version ${against}`,
        })),
    ),
  )
  const all = [
    ...faults.map((text) => ({ path: 'files', text: text.slice(0, 1000) })),
    ...found.map(({ file, text }) => ({ path: file, text })),
    ...(isStoredFine ? [] : [{ path: 'files', text: 'what is stored would fail' }]),
  ]
  return new Refusal({
    code: 'SCHEMA_REFUSED',
    status: 422,
    message: 'these schemas cannot be published: they cannot be used, or break what is published or stored',
    hint: 'POST /v1/schemas/check says all of it, with witnesses; docs/SCHEMAS.md says what to do about a break',
    faults: all.slice(0, 20),
  })
}

function noSuchSchema(): Refusal {
  return new Refusal({
    code: 'SCHEMA_UNKNOWN',
    status: 404,
    message: 'there is no such type or version in the registry, or it is not for you',
    hint: 'GET /v1/schemas lists what is published; tidegate schema apply publishes',
  })
}

function noSnapshot(): Refusal {
  return new Refusal({
    code: 'SCHEMA_SNAPSHOT_NONE',
    status: 404,
    message: 'no snapshot of the registry was ever signed',
    hint: 'tidegate schema apply --key FILE signs one, with a key that stays where it is',
  })
}

export const schemaRoutes: readonly Route[] = [
  listSchemas,
  fetchSnapshot,
  showType,
  showVersion,
  checkSchemas,
  applyRoute,
]
