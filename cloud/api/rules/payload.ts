import { z } from 'zod'

const payloads = new WeakSet<z.ZodType>()

/**
 * A field of an answer that may hold what a device sent, or what somebody said of it: left out for callers without the right to payloads.
 * It stands in the schema, so that no route can forget it.
 */
export function payload<S extends z.ZodType>(schema: S, description?: string): z.ZodOptional<S> {
  // Whoever describes it afterwards makes another schema of it, which is not known here.
  const about = description === undefined ? {} : { description }
  const optional = schema.optional().meta({ ...about, 'x-tidegate-right': 'payload' })
  payloads.add(optional)
  return optional
}

/** An answer as a caller gets it: what its schema has, and payloads only for those with the right to them. */
export function shownBy(schema: z.ZodType, value: unknown, withPayloads: boolean): unknown {
  if (value === null || value === undefined) return value
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable)
    return shownBy(schema.unwrap() as z.ZodType, value, withPayloads)
  if (schema instanceof z.ZodArray && Array.isArray(value))
    return value.map((one) => shownBy(schema.element as z.ZodType, one, withPayloads))
  if (!(schema instanceof z.ZodObject)) return value
  const shape = schema.shape as Readonly<Record<string, z.ZodType>>
  const given = value as Readonly<Record<string, unknown>>
  return Object.fromEntries(
    Object.entries(shape)
      .filter(([name, field]) => given[name] !== undefined && (withPayloads || !payloads.has(field)))
      .map(([name, field]) => [name, shownBy(field, given[name], withPayloads)]),
  )
}
