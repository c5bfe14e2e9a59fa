import { z } from 'zod'

const payloads = z.registry<{ payload: true }>()

/**
 * A field of an answer that may hold what a device sent, or what somebody said of it: left out for callers without the right to payloads.
 * It stands in the schema, so that no route can forget it.
 */
export function payload<S extends z.ZodType>(schema: S): z.ZodOptional<S> {
  // In this order: a schema with other metadata is another schema.
  return schema.optional().meta({ 'x-tidegate-right': 'payload' }).register(payloads, { payload: true })
}

/** The answer without its payload fields, by the schema that it was made for. */
export function withoutPayloads(schema: z.ZodType, value: unknown): unknown {
  if (value === null || value === undefined) return value
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault)
    return withoutPayloads(schema.unwrap() as z.ZodType, value)
  if (schema instanceof z.ZodArray && Array.isArray(value))
    return value.map((one) => withoutPayloads(schema.element as z.ZodType, one))
  if (!(schema instanceof z.ZodObject)) return value
  const shape = schema.shape as Record<string, z.ZodType>
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => shape[name] !== undefined && !isPayload(shape[name]))
      .map(([name, one]) => [name, withoutPayloads(shape[name] as z.ZodType, one)]),
  )
}

function isPayload(schema: z.ZodType): boolean {
  return payloads.has(schema)
}
