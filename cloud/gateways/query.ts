/** One statement, and the rows that it answers with. */
export type Query = <Row extends object>(text: string, values?: readonly unknown[]) => Promise<Row[]>
