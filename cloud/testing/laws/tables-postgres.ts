import type { Database } from '../../database/database-postgres.ts'
import { type Contents, type Reference, type Row, Shape } from './rows.ts'

interface StoredTable {
  name: string
  computed: string[]
  /** Not generated: an insert can say it. */
  written: string[]
}

/**
 * A default is computed anew each time if a function in it is not immutable (pg_proc.provolatile); its tree names them, those of operators
 * too, and `current_timestamp` and its like by a kind of their own.
 */
const tablesSql = `
select format('%I.%I', n.nspname, c.relname) as name,
  coalesce(array_agg(a.attname::text) filter (where a.attidentity <> '' or (a.attgenerated = '' and (
    d.adbin::text ~ '\\{(SQLVALUEFUNCTION|NEXTVALEXPR) ' or exists (
      select from regexp_matches(d.adbin::text, ':(?:op)?funcid ([0-9]+)', 'g') as found (ids)
      join pg_proc as p on p.oid = found.ids[1]::oid where p.provolatile <> 'i')))), '{}') as computed,
  coalesce(array_agg(quote_ident(a.attname)) filter (where a.attgenerated = ''), '{}') as written
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
  join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
where c.relkind in ('r', 'p') and not c.relispartition
  and n.nspname not in ('pg_catalog', 'information_schema', 'tidegate', 'tidegate_time') and n.nspname !~ '^pg_'
group by 1 order by 1`

const referencesSql = `
select format('%I.%I', n.nspname, c.relname) as table, format('%I.%I', tn.nspname, tc.relname) as to,
  array(select a.attname::text from unnest(f.conkey) with ordinality as k (number, place)
    join pg_attribute as a on a.attrelid = f.conrelid and a.attnum = k.number order by k.place) as columns,
  array(select a.attname::text from unnest(f.confkey) with ordinality as k (number, place)
    join pg_attribute as a on a.attrelid = f.confrelid and a.attnum = k.number order by k.place) as "toColumns"
from pg_constraint as f
  join pg_class as c on c.oid = f.conrelid join pg_namespace as n on n.oid = c.relnamespace
  join pg_class as tc on tc.oid = f.confrelid join pg_namespace as tn on tn.oid = tc.relnamespace
where f.contype = 'f' and f.conparentid = 0
order by f.conname, 1`

/** Of Tidegate's, what a pipeline leaves behind. */
const ownSql = `
delete from tidegate.inbox_claims; delete from tidegate.parked_events; delete from tidegate.parked_counts;
delete from tidegate.parked_devices; delete from tidegate.dead_letters; delete from tidegate.failure_counts;
delete from tidegate.failure_groups`

/** The consumer's tables, as they are made and again and again as they were then. */
export class ConsumerTables {
  readonly #database: Database
  #tables: readonly StoredTable[] = []
  #shape = new Shape([], [])
  #kept: ReadonlySet<number> = new Set()

  private constructor(database: Database) {
    this.#database = database
  }

  /** As they are now. */
  static async of(database: Database): Promise<ConsumerTables> {
    const tables = new ConsumerTables(database)
    await tables.#keep()
    return tables
  }

  /** Columns of which nothing is compared, for the database fills them anew each time. */
  get uncompared(): readonly string[] {
    return this.#shape.uncompared
  }

  async #keep(): Promise<void> {
    this.#tables = await this.#database.query<StoredTable>(tablesSql)
    this.#shape = new Shape(this.#tables, await this.#database.query<Reference>(referencesSql))
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
    const rows = new Map<string, readonly Row[]>()
    for (const { name } of this.#tables) {
      // With .* it is the row, also where a column has the name of the alias.
      rows.set(
        name,
        await this.#database.query<Row>(
          `select (to_jsonb(it.*) - $1::text[])::text as rest,
            (select coalesce(jsonb_object_agg(k.name, to_jsonb(it.*) ->> k.name), '{}') from unnest($2::text[]) as k (name)) as keys
          from ${name} as it`,
          [this.#shape.varying(name), this.#shape.keysOf(name)],
        ),
      )
    }
    return this.#shape.contents(rows)
  }
}
