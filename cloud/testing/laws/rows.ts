/** What a consumer's tables hold: by table its rows, as one can compare them. */
export type Contents = Readonly<Record<string, readonly string[]>>

export interface Table {
  name: string
  /** Columns that the database fills anew each time: numbers, times, UUIDs. */
  computed: readonly string[]
}

/** A foreign key. */
export interface Reference {
  table: string
  columns: readonly string[]
  to: string
  toColumns: readonly string[]
}

/** A row: what is compared as it is, as JSON, and what it is found by, as text. */
export interface Row {
  rest: string
  keys: Readonly<Record<string, string | null>>
}

/** A row that refers to itself, over others, has an end. */
const depthMax = 5

/** How the rows of tables are compared whose numbers are other ones each time: by what they stand for. */
export class Shape {
  readonly tables: readonly Table[]
  readonly #references: readonly Reference[]
  readonly #varying: ReadonlyMap<string, ReadonlySet<string>>

  constructor(tables: readonly Table[], references: readonly Reference[]) {
    this.tables = tables
    this.#references = references.filter(({ table, to }) =>
      [table, to].every((name) => tables.some((each) => each.name === name)),
    )
    this.#varying = varyingOf(tables, this.#references)
  }

  /** Columns that are not compared as they are: computed ones, and what refers to them. */
  varying(table: string): string[] {
    return [...(this.#varying.get(table) ?? [])]
  }

  /** Columns by which rows are found. */
  keysOf(table: string): string[] {
    const keys = this.#references.flatMap((one) => [
      ...(one.table === table ? one.columns : []),
      ...(one.to === table ? one.toColumns : []),
    ])
    return [...new Set(keys)]
  }

  /** Columns of which nothing is compared: `public.alerts.number`. */
  get uncompared(): string[] {
    return this.tables.flatMap(({ name }) => {
      const referring = this.#followed(name).flatMap(({ columns }) => columns)
      return this.varying(name)
        .filter((column) => !referring.includes(column))
        .map((column) => `${name}.${column}`)
    })
  }

  contents(rows: ReadonlyMap<string, readonly Row[]>): Contents {
    return Object.fromEntries(
      this.tables.map(({ name }) => [
        name,
        // oxlint-disable-next-line typescript/require-array-sort-compare -- texts
        (rows.get(name) ?? []).map((row) => this.#text(name, row, rows, 0)).toSorted(),
      ]),
    )
  }

  /** A row with those that it refers to in place of their numbers. */
  #text(table: string, row: Row, rows: ReadonlyMap<string, readonly Row[]>, depth: number): string {
    const members = this.#followed(table).map(({ columns, to, toColumns }) => {
      const wanted = columns.map((column) => row.keys[column])
      const referred = rows
        .get(to)
        ?.find(({ keys }) => toColumns.every((column, index) => keys[column] === wanted[index]))
      const isNone = wanted.includes(null) || referred === undefined
      const text = isNone ? 'null' : depth >= depthMax ? '"…"' : this.#text(to, referred, rows, depth + 1)
      return `${JSON.stringify(columns.join(', '))}: ${text}`
    })
    const own = row.rest.slice(1, -1)
    return `{${[...(own === '' ? [] : [own]), ...members].join(', ')}}`
  }

  #followed(name: string): Reference[] {
    const varying = this.#varying.get(name)
    return this.#references.filter(
      ({ table, columns }) => table === name && columns.some((column) => varying?.has(column)),
    )
  }
}

/** What refers to a number that is another one each time is so itself. */
function varyingOf(tables: readonly Table[], references: readonly Reference[]): Map<string, Set<string>> {
  const varying = new Map(tables.map(({ name, computed }) => [name, new Set(computed)]))
  for (let grew = true; grew;) {
    grew = false
    for (const { table, columns, to, toColumns } of references)
      for (const [index, column] of columns.entries()) {
        const own = varying.get(table)
        if (own?.has(column) || !varying.get(to)?.has(toColumns[index] ?? '')) continue
        own?.add(column)
        grew = true
      }
  }
  return varying
}
