import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { eventComponent, plainSchemaOf } from '../../../cli/asyncapi/envelope.ts'

test('an event whose type has capital letters conforms to the envelope', () => {
  const { schema } = eventComponent() as { schema: { properties: { type: object } } }
  const validate = new Ajv2020({ strict: false }).compile(schema.properties.type)
  expect([validate('com.Acme.Klima'), validate('com.acme.klima'), validate('com')]).toEqual([
    true,
    true,
    false,
  ])
})

test('a pattern with a flag does not get into the document: JSON Schema has none', () => {
  expect(() => plainSchemaOf(z.object({ a: z.string().regex(/^a$/i) }))).toThrow('/^a$/i')
  expect(plainSchemaOf(z.object({ a: z.string().regex(/^a$/u) }))).toMatchObject({
    properties: { a: { pattern: '^a$' } },
  })
})
