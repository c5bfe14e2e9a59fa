/** What users' modules import: published as `tidegate/consumer`. */
export * from './pipeline/consumer.ts'
export { defineProjection } from './projections/definition.ts'
export type {
  ProjectedEvent,
  Projection,
  ProjectionContext,
  ProjectionOptions,
} from './projections/definition.ts'
