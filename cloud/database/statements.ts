/** Statements of our own within a transaction: prepared by name, rows as arrays. The repositories' adapters are made of it. */
export interface Statements {
  /** Without a name it is planned each time it is asked. */
  run<Row extends unknown[]>(name: string, text: string, values: readonly unknown[]): Promise<Row[]>
}
