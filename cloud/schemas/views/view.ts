import { createHash } from 'node:crypto'
import type { SchemaFolder } from '../../../src/schemas/folder.ts'
import type { Formats } from '../../../src/schemas/formats.ts'
import type { StoredType } from '../../../src/schemas/registry.ts'
import { sqlOfSteps } from '../../../src/schemas/upcast/sql.ts'
import { type Field, type FieldKind, fieldsOf } from './fields.ts'
import { type ViewLink, viewLinks } from './links.ts'
import { columnNames, pointerOf, viewNames } from './names.ts'
import { inSchema, quotedName, quotedText, storableText } from './sql-text.ts'

/** The view of an event type: a row for each event that was accepted, as its newest version has it. */
export interface TypedView {
  name: string
  type: string
  /** Of which version its columns are. */
  version: number
  columns: readonly { name: string; kind: FieldKind; path: string }[]
  /** What it has no columns or no values for, and why: for whoever makes it, and in its comment. */
  notes: readonly string[]
  /** `select …` */
  select: string
  /** Its comment without what says whose it is, and those of its columns. */
  comment: string
  columnComments: readonly { name: string; said: string | undefined }[]
  /** Of all this: the same as long as nothing is to be done. SHA-256. */
  digest: string
}

/** Those of all types, in the order of the types. @throws TidegateError `SCHEMA_FOLDER` */
export function typedViews(folder: SchemaFolder, formats: Formats): TypedView[] {
  const types = [...folder.types.keys()].toSorted()
  const names = viewNames(types)
  return types.map((type) => typedView(folder, type, { name: names.get(type) as string, formats }))
}

function typedView(
  folder: SchemaFolder,
  type: string,
  { name, formats }: { name: string; formats: Formats },
): TypedView {
  const stored = folder.types.get(type) as StoredType
  const versions = [...stored.versions.keys()].toSorted((one, other) => one - other)
  const version = versions.at(-1) as number
  const links = viewLinks(folder.source, type, versions)
  const { fields, isCut } = fieldsOf(`${type}/${version}`, stored.versions.get(version)?.schema, formats)
  const columnName = columnNames(fields.map(({ path }) => path))
  const columns = fields.map(({ path, kind }) => {
    const pointer = pointerOf(path)
    return { name: columnName.get(pointer) as string, kind, path: pointer }
  })
  const notes = notesOf(links, versions, isCut)
  const said = {
    name,
    type,
    version,
    columns,
    notes,
    select: selectOf(type, versions, links, fields, columns),
    comment: [
      storableText(stored.settings.description ?? `Events of the type ${type}`),
      `As version ${version} has them. Events of versions other than ${versions.join(', ')} have no values.`,
      ...notes,
    ].join('\n'),
    columnComments: [...ownComments, ...fieldComments(fields, columns)],
  }
  return { ...said, digest: createHash('sha256').update(JSON.stringify(said)).digest('hex') }
}

/** Data as the newest version has it, the members of that, and what says which event it is. */
function selectOf(
  type: string,
  versions: readonly number[],
  links: readonly ViewLink[],
  fields: readonly Field[],
  columns: TypedView['columns'],
): string {
  const brought = links.filter(({ steps }) => steps === 'function' || steps.length > 0)
  let data = 'event.data'
  const joins = brought.map(({ from, to, steps }) => {
    const taken = steps === 'function' ? 'null::jsonb' : sqlOfSteps(data, steps)
    const text = lateral(
      `case when said.version <= ${from} then ${taken} else ${data} end as data`,
      `to_${to}`,
    )
    data = `to_${to}.data`
    return text
  })
  const list = [
    `case when starts_with(e.source, '/devices/') then substr(e.source, 10) else e.source end as device`,
    'e.time, e.recorded_time, e.gateway, e.position, e.source, e.id',
    `${namedSql(type)} as schema_version`,
    `tidegate.typed_json(${data}) as data`,
    ...fields.map(({ path, kind }, index) => {
      const value = [data, ...path.map(quotedText)].join(' -> ')
      return `tidegate.typed_${kind}(${value}) as ${quotedName((columns[index] as { name: string }).name)}`
    }),
  ]
  // Where no version means something else, one that is not named is as good as the newest.
  const version = brought.length === 0 ? `coalesce(${namedSql(type)}, ${versions.at(-1)})` : namedSql(type)
  const known = `said.version in (${versions.join(', ')})`
  return [
    `select ${list.join(',\n  ')}`,
    'from tidegate.events as e',
    lateral(`${version} as version`, 'said'),
    lateral(`case when ${known} then tidegate.event_data(e.body) end as data`, 'event'),
    ...joins,
    `where e.type = ${quotedText(type)} and e.disposition = 'accepted'`,
  ].join('\n')
}

/** \`offset 0\` keeps PostgreSQL from putting the expression in the place of each use of it. */
function lateral(list: string, name: string): string {
  return `cross join lateral (select ${list} offset 0) as ${name}`
}

/** The version that an event names, of its own type; null: none. */
function namedSql(type: string): string {
  const prefix = `${type}/`
  const rest = `substr(e.dataschema, ${prefix.length + 1})`
  return `case when starts_with(e.dataschema, ${quotedText(prefix)}) and ${rest} ~ '^[1-9][0-9]{0,5}$' then ${rest}::integer end`
}

function notesOf(links: readonly ViewLink[], versions: readonly number[], isCut: boolean): string[] {
  const functions = links.filter(({ steps }) => steps === 'function')
  const isChanged = links.some(({ steps }) => steps === 'function' || steps.length > 0)
  return [
    ...functions.map(
      ({ from, to }) =>
        `Events of version ${from} and before have no values: upcast/${from}-${to}.js is code, which does not run in a database.`,
    ),
    ...(isChanged
      ? ['Events that name no version have no values: an upcaster says that versions mean different things.']
      : []),
    ...(isCut ? ['The schema names more members than have columns: the others are in data.'] : []),
  ]
}

const ownComments: TypedView['columnComments'] = [
  { name: 'device', said: 'The device, as its source names it. A condition on source meets an index.' },
  { name: 'time', said: 'By the clock of the device.' },
  {
    name: 'recorded_time',
    said: 'By the clock of the gateway. A condition on it keeps PostgreSQL to the weeks it names.',
  },
  { name: 'schema_version', said: 'The version that the event was recorded in; null: it names none.' },
  { name: 'data', said: 'All of the data, brought forward to the version of this view; null: it cannot be.' },
]

function fieldComments(fields: readonly Field[], columns: TypedView['columns']): TypedView['columnComments'] {
  return fields.map(({ said, path }, index) => {
    const { name, path: pointer } = columns[index] as TypedView['columns'][number]
    const isPlain = path.length === 1 && path[0] === name
    const text = [...(said === undefined ? [] : [said]), ...(isPlain ? [] : [`Of data${pointer}`])].join('. ')
    return { name, said: text === '' ? undefined : text }
  })
}

/** Who finds it on a view knows that it is of ours, which, and in which state. */
const markPattern = /\ntidegate schema views: (\S+) ([0-9a-f]{64})$/

/** What a comment says of the view that it stands on; undefined: it is none of ours. */
export function markIn(comment: string | null): { type: string; digest: string } | undefined {
  const match = comment === null ? null : markPattern.exec(comment)
  return match ? { type: match[1] as string, digest: match[2] as string } : undefined
}

/** The statements that say what a view and its columns are. */
export function commentsSql(schema: string, view: TypedView): string[] {
  const { name, type, digest, comment, columnComments } = view
  const at = inSchema(schema, name)
  return [
    `comment on view ${at} is ${quotedText(`${comment}\ntidegate schema views: ${type} ${digest}`)}`,
    // One that the schema has no longer a word for loses what it said.
    ...columnComments.map(
      ({ name: column, said }) =>
        `comment on column ${at}.${quotedName(column)} is ${said === undefined ? 'null' : quotedText(said)}`,
    ),
  ]
}

/** Whoever asks it reads with their own rights, and nobody writes through it. */
export function createSql(schema: string, { name, select }: TypedView): string {
  return `create or replace view ${inSchema(schema, name)} with (security_invoker = true) as\n${select}`
}
