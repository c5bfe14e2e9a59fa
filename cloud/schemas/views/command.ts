import { type Command, InvalidArgumentError, Option } from 'commander'
import { usableSchemaFolder, usableSchemas } from '../../../src/schemas/folder.ts'
import type { Formats } from '../../../src/schemas/formats.ts'
import { counted } from '../../../src/units.ts'
import { visible } from '../../../src/visible.ts'
import { askingForDatabase, type DatabaseChoice, openChosenDatabase } from '../../database-choice.ts'
import { commentsSql, createSql, type TypedView, typedViews } from './view.ts'
import { quotedName } from './sql-text.ts'
import type { ViewChange } from './views-postgres.ts'

interface ViewsChoice extends DatabaseChoice {
  folder: string
  registry?: true
  formats: Formats
  schema: string
  print?: true
  dryRun?: true
  json?: true
}

/** `tidegate schema views` */
export function addViews(schema: Command, say: (text: string) => void): void {
  askingForDatabase(schema.command('views'))
    .description(
      'make a view of each event type in the database, with a column for each member of its data, as its newest version has it',
    )
    .option('--folder <folder>', 'the folder of schemas', 'schemas')
    .addOption(
      new Option(
        '--registry',
        'of the schemas that are applied to this database, in place of a folder',
      ).conflicts(['folder', 'print']),
    )
    .addOption(
      new Option(
        '--formats <formats>',
        'whether format checks anything, as schemas.formats says of both sides',
      )
        .choices(['checked', 'annotation'])
        .default('checked'),
    )
    .option('--schema <schema>', 'the schema of PostgreSQL in which the views stand', schemaNameOf, 'reading')
    .option('--print', 'print the statements, and ask no database')
    .option('--dry-run', 'say what would be done')
    .option('--json', 'one JSON object, for programs')
    .action(async (options: ViewsChoice) => {
      const { folder, formats, schema: within } = options
      if (options.print)
        return say(scriptOf(within, typedViews(usableSchemaFolder(folder, formats), formats)))
      const read = options.registry ? undefined : usableSchemaFolder(folder, formats)
      const database = await openChosenDatabase(options, 'tidegate-schema-views')
      const { appliedSchemas, applyViews } = await import('./views-postgres.ts')
      try {
        const views = typedViews(read ?? usableSchemas(await appliedSchemas(database), formats), formats)
        const changes = await applyViews(database, views, { schema: within, dryRun: options.dryRun === true })
        say(
          options.json
            ? JSON.stringify({ schema: within, changes, views: views.map(shown) })
            : told(within, changes, views),
        )
      } finally {
        await database.close()
      }
    })
}

function schemaNameOf(text: string): string {
  if (
    /^[a-z_][a-z0-9_]{0,62}$/.test(text) &&
    !/^(pg_|tidegate$|projection(_|$)|public$|information_schema$)/.test(text)
  )
    return text
  throw new InvalidArgumentError(
    'a schema of its own is named by small letters, figures and _, and is not one of Tidegate’s or PostgreSQL’s.',
  )
}

function shown({ name, type, version, columns, notes }: TypedView) {
  return { name, type, version, columns, notes }
}

function told(schema: string, changes: readonly ViewChange[], views: readonly TypedView[]): string {
  const byName = new Map(views.map((view) => [view.name, view]))
  const nameOf = new Map(views.map((view) => [view.type, view.name]))
  const lines = changes.flatMap(({ name, type, what }) => {
    const view = byName.get(name)
    const renamed = nameOf.get(type)
    const gone = renamed === undefined ? type : `${type}, which is ${schema}.${renamed} now`
    const of = view ? `${type}, version ${view.version}, ${counted(view.columns.length, 'column')}` : gone
    return [
      `${what.padEnd(9)}  ${schema}.${name}  ${of}`,
      ...(view?.notes ?? []).map((note) => `           ${visible(note)}`),
    ]
  })
  return lines.length === 0 ? 'no event types, and no views' : lines.join('\n')
}

/** For whoever makes them by other means. What is there under the names is replaced, and nothing is removed. */
function scriptOf(schema: string, views: readonly TypedView[]): string {
  const statements = [
    'begin',
    'set local search_path = pg_catalog, pg_temp',
    'set local standard_conforming_strings = on',
    `create schema if not exists ${quotedName(schema)}`,
    ...views.flatMap((view) => [createSql(schema, view), ...commentsSql(schema, view)]),
    'commit',
  ]
  return [
    '-- As the owner of the schema tidegate: set role tidegate_owner',
    ...statements.map((one) => `${one};`),
  ].join('\n')
}
