import { Counter, Gauge, type Registry } from 'prom-client'
import type { Schemas } from '../schemas/schemas.ts'

/** What readings are judged by, when somebody looks. The names of versions are as many as are accepted, and of states there is one (G7). */
export function watchSchemas(schemas: Pick<Schemas, 'use' | 'seen'>, registers: Registry[]): void {
  counter('schema_checked_total', {
    help: 'Readings that passed their schema, by its name and by who chose the version',
    labelNames: ['schema', 'by'],
    registers,
    series: () =>
      [...schemas.use].flatMap(([schema, counts]) =>
        Object.entries(counts).map(([by, count]) => ({ labels: { schema, by }, count })),
      ),
  })
  counter('schemas_changes_total', {
    help: 'Times other schemas came into use since the start',
    labelNames: [],
    registers,
    series: () => [{ labels: {}, count: schemas.seen().changes }],
  })
  counter('schemas_refused_total', {
    help: 'Times schemas were not used or did not come, by why',
    labelNames: ['reason'],
    registers,
    series: () =>
      Object.entries(schemas.seen().refused).map(([reason, count]) => ({ labels: { reason }, count })),
  })
  const info: Gauge = new Gauge({
    name: 'tidegate_edge_schemas_info',
    help: '1; which schemas are in use: the digest of their state, a snapshot’s revision, where they are from',
    labelNames: ['digest', 'revision', 'source'],
    registers,
    collect() {
      const { digest = '', revision = '', source } = schemas.seen().used
      info.reset()
      info.set({ digest, revision, source }, 1)
    },
  })
  const age: Gauge = new Gauge({
    name: 'tidegate_edge_schemas_confirmed_seconds',
    help: 'Since the place they come from last said that they are what there is; -1: not since the start',
    registers,
    collect() {
      const { confirmedMs } = schemas.seen()
      age.set(confirmedMs === undefined ? -1 : confirmedMs / 1000)
    },
  })
}

interface CounterOptions {
  help: string
  labelNames: string[]
  registers: Registry[]
  series: () => { labels: Record<string, string>; count: number }[]
}

function counter(name: string, { series, ...options }: CounterOptions): void {
  const made: Counter = new Counter({
    ...options,
    name: `tidegate_edge_${name}`,
    collect() {
      made.reset()
      for (const { labels, count } of series()) made.inc(labels, count)
    },
  })
}
