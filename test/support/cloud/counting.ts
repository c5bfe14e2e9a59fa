import {
  defineProjection,
  type Projection,
  type ProjectionOptions,
} from '../../../cloud/projections/definition.ts'

/** Counts events by device, and says of each which it was: whatever is applied twice, or never, or out of order, shows. */
export function counting(more: Partial<ProjectionOptions> = {}): Projection {
  return defineProjection({
    name: 'counting',
    version: 1,
    events: ['com.acme.#'],
    tables: `
      create table counting (device text primary key, events bigint not null, sequences bigint[] not null)`,
    async apply(events, { tx }) {
      for (const event of events)
        await tx.query(
          `insert into counting as c values ($1, 1, array[$2::bigint])
           on conflict (device) do update set events = c.events + 1, sequences = c.sequences || excluded.sequences`,
          [event.partitionkey, event.sequence],
        )
    },
    ...more,
  })
}
