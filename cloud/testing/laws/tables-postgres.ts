import type { Database } from '../../database/database-postgres.ts'

/** What a consumer's tables hold: by table its rows, without the columns that the database numbers or dates itself. */
export type Contents = Readonly<Record<string, readonly string[]>>

interface Table {
  name: string
  /** Computed by a function where nothing is said: numbers, times, UUIDs. */
  computed: string[]
  /** Generated: nobody says it. */
  written: string[]
}

const tablesSql = `
select format('%I.%I', n.nspname, c.relname) as name,
  coalesce(array_agg(a.attname::text) filter (where a.attidentity <> '' or pg_get_expr(d.adbin, d.adrelid) ~ '\\('
    or pg_get_expr(d.adbin, d.adrelid) ~ '^CURRENT_'), '{}') as computed,
  coalesce(array_agg(quote_ident(a.attname)) filter (where a.attgenerated = ''), '{}') as written
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
  join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
where c.relkind in ('r', 'p') and not c.relispartition
  and n.nspname not in ('pg_catalog', 'information_schema', 'tidegate', 'tidegate_time') and n.nspname !~ '^pg_'
group by 1 order by 1`

/** Of Tidegate's, what a pipeline leaves behind. */
const ownSql = `
delete from tidegate.inbox_claims; delete from tidegate.parked_events; delete from tidegate.parked_counts;
delete from tidegate.parked_devices; delete from tidegate.dead_letters; delete from tidegate.failure_counts;
delete from tidegate.failure_groups`

/** The consumer's tables, as they are made and again and again as they were then. */
export class ConsumerTables {
  readonly #database: Database
  #tables: readonly Table[] = []
  #kept: ReadonlySet<number> = new Set()

  constructor(database: Database) {
    this.#database = database
  }

  async keep(): Promise<void> {
    this.#tables = await this.#database.query<{ name: string; computed: string[]; written: string[] }>(
      tablesSql,
    )
    const kept = new Set<number>()
    for (const [index, { name }] of this.#tables.entries()) {
      await this.#database.query(`create table tidegate_time.kept_${index} as table ${name}`)
      const [row] = await this.#database.query<{ some: boolean }>(
        `select exists (select from tidegate_time.kept_${index}) as some`,
      )
      if (row?.some) kept.add(index)
    }
    this.#kept = kept
  }

  async reset(): Promise<void> {
    const names = this.#tables.map(({ name }) => name)
    if (names.length > 0) await this.#database.query(`truncate ${names.join(', ')} restart identity cascade`)
    for (const [index, { name, written }] of this.#tables.entries()) {
      if (!this.#kept.has(index)) continue
      const columns = written.join(', ')
      await this.#database.query(
        `insert into ${name} (${columns}) overriding system value select ${columns} from tidegate_time.kept_${index}`,
      )
    }
    await this.#database.query(ownSql)
  }

  async read(): Promise<Contents> {
    const contents: Record<string, readonly string[]> = {}
    for (const { name, computed } of this.#tables) {
      const rows = await this.#database.query<{ row: string }>(
        `select (to_jsonb(t) - $1::text[])::text as row from ${name} as t order by 1`,
        [computed],
      )
      contents[name] = rows.map(({ row }) => row)
    }
    return contents
  }
}
