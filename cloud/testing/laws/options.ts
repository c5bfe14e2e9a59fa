/** What is promised of each, and by which guarantee (docs/GUARANTEES.md). */
export const laws = {
  limits: 'an event that its schema allows is handled, and does not wait for ever (G5)',
  twice: 'an event that is delivered twice has its effect once (G4)',
  cut: 'where a batch is cut, and a connection drops, makes no difference (G4, G5)',
  'crash-before-commit': 'a process that ends before the commit has done nothing (G4, G5)',
  'crash-after-commit': 'a process that ends after the commit has done all of it, once (G4, G5)',
  order: 'the order between devices makes no difference: only that of one device is kept (G6)',
  attempt: 'an event whose attempt fails is tried again, and has its effect once (G4, G5)',
} as const

export type LawName = keyof typeof laws

export interface LawOptions {
  /** Of all that is made up: the same seed makes the same test. Default 1. */
  seed?: number
  /** So many cases, each with every law. Default 10. */
  runs?: number
  /** Most events of a case. Default 8. */
  events?: number
  /** These laws alone. Default: all. */
  only?: readonly LawName[]
  /** Not these: what a consumer need not promise, with a reason beside it. */
  except?: readonly LawName[]
  /** Codes of errors that are as they should be, beside those that are final or not retryable. */
  expected?: readonly string[]
  /** Data by type, where there is no schema to make it from. */
  samples?: Readonly<Record<string, readonly unknown[]>>
  /** That events change nothing, neither tables nor `outside`, is as it should be. Default: it is a fault, `LAW_VACUOUS`. */
  mayDoNothing?: boolean
  /** What handlers did outside of their transaction, as it is now: compared as JSON, a Map or a Set without its order. */
  outside?: () => unknown
  /** Called before each execution: empties what `outside` sees, and what the module remembers. */
  reset?: () => Promise<void> | void
}

export interface LawReport {
  seed: number
  laws: readonly LawName[]
  cases: number
  /** How often the events of a case were gone through. */
  executions: number
  /** Cases whose events have changed a table, have become dead letters, or show in `outside`. */
  effective: number
  /** Columns of which nothing is compared, for the database fills them anew each time: `public.alerts.number`. */
  uncompared: readonly string[]
}
