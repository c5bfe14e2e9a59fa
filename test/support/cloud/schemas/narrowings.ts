/**
 * Changes that let less pass: what `narrow` accepts `wide` accepts, and not the other way about. Each row is a case each way: narrow written and wide read is
 * compatible, wide written and narrow read is not, by a rule and with a document that shows it.
 */
export interface Narrowing {
  what: string
  narrow: unknown
  wide: unknown
  /** By which rule the wide one, read as the narrow one, breaks. */
  rule: string
  path?: string
}

const closed = (properties: object, more: object = {}): object => ({
  type: 'object',
  properties,
  additionalProperties: false,
  ...more,
})
const a = { type: 'object', properties: { kind: { const: 'a' }, n: { type: 'number' } }, required: ['kind'] }
const b = { type: 'object', properties: { kind: { const: 'b' } }, required: ['kind'] }
const c = { type: 'object', properties: { kind: { const: 'c' } }, required: ['kind'] }
const list = (value: object, reference = '#'): object => ({
  type: 'object',
  properties: { value, next: { $ref: reference } },
  required: ['value'],
})

const conditional: unknown = JSON.parse('{"type":"object","if":{"required":["x"]},"then":{"required":["y"]}}')

export const narrowings: readonly Narrowing[] = [
  {
    what: 'a format comes',
    narrow: { type: 'string', format: 'date' },
    wide: { type: 'string' },
    rule: 'format',
  },
  // Karapace's four checks that never ran (karapace#1363).
  {
    what: 'uniqueItems comes',
    narrow: { type: 'array', uniqueItems: true },
    wide: { type: 'array' },
    rule: 'uniqueItems',
  },
  {
    what: 'multipleOf comes',
    narrow: { type: 'number', multipleOf: 5 },
    wide: { type: 'number' },
    rule: 'multipleOf',
  },
  {
    what: 'a member becomes required',
    narrow: closed({ t: {} }, { required: ['t'] }),
    wide: closed({ t: {} }),
    rule: 'required',
  },
  { what: 'a value leaves an enum', narrow: { enum: ['C'] }, wide: { enum: ['C', 'F'] }, rule: 'enum' },
  // Numbers.
  {
    what: 'a maximum sinks',
    narrow: { type: 'number', maximum: 100 },
    wide: { type: 'number', maximum: 150 },
    rule: 'maximum',
  },
  {
    what: 'a minimum rises',
    narrow: { type: 'number', minimum: 0 },
    wide: { type: 'number', minimum: -40 },
    rule: 'minimum',
  },
  {
    what: 'a maximum comes',
    narrow: { type: 'number', maximum: 1 },
    wide: { type: 'number' },
    rule: 'maximum',
  },
  {
    what: 'a bound becomes exclusive',
    narrow: { type: 'number', exclusiveMaximum: 5 },
    wide: { type: 'number', maximum: 5 },
    rule: 'exclusiveMaximum',
  },
  {
    what: 'a lower bound becomes exclusive',
    narrow: { type: 'number', exclusiveMinimum: 5 },
    wide: { type: 'number', minimum: 5 },
    rule: 'exclusiveMinimum',
  },
  {
    what: 'an exclusive bound is a tighter one',
    narrow: { type: 'number', minimum: 1 },
    wide: { type: 'number', exclusiveMinimum: 0 },
    rule: 'minimum',
  },
  {
    what: 'multipleOf becomes its multiple',
    narrow: { type: 'number', multipleOf: 6 },
    wide: { type: 'number', multipleOf: 3 },
    rule: 'multipleOf',
  },
  {
    what: 'multipleOf by its digits',
    narrow: { type: 'number', multipleOf: 0.3 },
    wide: { type: 'number', multipleOf: 0.1 },
    rule: 'multipleOf',
  },
  { what: 'numbers become whole ones', narrow: { type: 'integer' }, wide: { type: 'number' }, rule: 'type' },
  {
    what: 'whole numbers are multiples of a half',
    narrow: { type: 'integer' },
    wide: { type: 'number', multipleOf: 0.5 },
    rule: 'type',
  },
  { what: 'a bound without a type', narrow: { maximum: 5 }, wide: {}, rule: 'maximum' },
  {
    what: 'whole numbers between bounds that are not whole',
    narrow: { type: 'integer', minimum: 1 },
    wide: { type: 'integer', minimum: -0.5 },
    rule: 'minimum',
  },
  // Types.
  {
    what: 'a type goes from a list',
    narrow: { type: 'number' },
    wide: { type: ['number', 'null'] },
    rule: 'type',
  },
  { what: 'a type comes', narrow: { type: 'string' }, wide: true, rule: 'type' },
  {
    what: 'nullable goes',
    narrow: { type: 'string' },
    wide: { type: 'string', nullable: true },
    rule: 'type',
  },
  { what: 'nothing is allowed any more', narrow: false, wide: { type: 'string' }, rule: 'false' },
  // Listed values.
  { what: 'a const of an enum', narrow: { const: 1 }, wide: { enum: [1, 2] }, rule: 'const' },
  { what: 'an enum of a type', narrow: { enum: ['on', 'off'] }, wide: { type: 'string' }, rule: 'enum' },
  {
    what: 'objects are equal in whatever order',
    narrow: { enum: [{ x: 1, y: 2 }] },
    wide: { enum: [{ y: 2, x: 1 }, null] },
    rule: 'enum',
  },
  { what: 'both of boolean against one', narrow: { const: true }, wide: { type: 'boolean' }, rule: 'const' },
  {
    what: 'listed values within bounds',
    narrow: { enum: [1, 2] },
    wide: { type: 'integer', minimum: 0 },
    rule: 'enum',
  },
  // Texts.
  {
    what: 'maxLength sinks',
    narrow: { type: 'string', maxLength: 3 },
    wide: { type: 'string', maxLength: 8 },
    rule: 'maxLength',
  },
  {
    what: 'minLength comes',
    narrow: { type: 'string', minLength: 1 },
    wide: { type: 'string' },
    rule: 'minLength',
  },
  {
    what: 'a pattern comes',
    narrow: { type: 'string', pattern: '^[A-Z]{2}-[0-9]+$' },
    wide: { type: 'string' },
    rule: 'pattern',
  },
  {
    what: 'a pattern that says how long',
    narrow: { type: 'string', pattern: '^[0-9a-f]{8}$' },
    wide: { type: 'string', maxLength: 8 },
    rule: 'pattern',
  },
  {
    what: 'a pattern that every text matches says nothing',
    narrow: { type: 'string', minLength: 2 },
    wide: { type: 'string', pattern: '.*' },
    rule: 'minLength',
  },
  {
    what: 'characters are code points',
    narrow: { type: 'string', maxLength: 1 },
    wide: { type: 'string', maxLength: 2 },
    rule: 'maxLength',
  },
  // Arrays.
  {
    what: 'maxItems comes',
    narrow: { type: 'array', maxItems: 3 },
    wide: { type: 'array' },
    rule: 'maxItems',
  },
  {
    what: 'minItems rises',
    narrow: { type: 'array', minItems: 2 },
    wide: { type: 'array', minItems: 1 },
    rule: 'minItems',
  },
  {
    what: 'items are narrower',
    narrow: { type: 'array', items: { type: 'integer' } },
    wide: { type: 'array', items: { type: 'number' } },
    rule: 'type',
    path: '/0',
  },
  {
    what: 'a tuple has a place more',
    narrow: { prefixItems: [{ type: 'string' }, { type: 'number' }] },
    wide: { prefixItems: [{ type: 'string' }] },
    rule: 'type',
    path: '/1',
  },
  {
    what: 'a tuple is closed',
    narrow: { type: 'array', prefixItems: [{}], items: false },
    wide: { type: 'array', prefixItems: [{}] },
    rule: 'items',
  },
  {
    what: 'a closed tuple is short enough',
    narrow: { type: 'array', prefixItems: [{}, {}], items: false },
    wide: { type: 'array', maxItems: 3 },
    rule: 'items',
  },
  {
    what: 'a place of a tuple is as narrow as the items',
    narrow: { prefixItems: [{ maximum: 1 }], items: { maximum: 5 } },
    wide: { items: { maximum: 5 } },
    rule: 'maximum',
    path: '/0',
  },
  {
    what: 'contains comes',
    narrow: { type: 'array', contains: { const: 1 } },
    wide: { type: 'array' },
    rule: 'contains',
  },
  {
    what: 'minContains rises',
    narrow: { contains: { const: 1 }, minContains: 2 },
    wide: { contains: { const: 1 } },
    rule: 'contains',
  },
  {
    what: 'maxContains sinks',
    narrow: { contains: { const: 1 }, maxContains: 1 },
    wide: { contains: { const: 1 }, maxContains: 2 },
    rule: 'contains',
  },
  {
    what: 'all items are what is to be contained',
    narrow: { type: 'array', minItems: 1, items: { const: 1 } },
    wide: { type: 'array', contains: { const: 1 } },
    rule: 'const',
  },
  {
    what: 'at most one item is unique',
    narrow: { type: 'array', maxItems: 1 },
    wide: { type: 'array', uniqueItems: true },
    rule: 'maxItems',
  },
  {
    what: 'unevaluatedItems closes a tuple',
    narrow: { type: 'array', prefixItems: [{}], unevaluatedItems: false },
    wide: { type: 'array' },
    rule: 'unevaluatedItems',
  },
  {
    what: 'a tuple of 2019-09',
    narrow: {
      $schema: 'https://json-schema.org/draft/2019-09/schema',
      type: 'array',
      items: [{ type: 'number' }],
      additionalItems: false,
    },
    wide: {
      $schema: 'https://json-schema.org/draft/2019-09/schema',
      type: 'array',
      items: [{ type: 'number' }],
    },
    rule: 'additionalItems',
  },
  // Objects.
  {
    what: 'a member that a closed model lacks',
    narrow: closed({ t: {} }),
    wide: closed({ t: {}, u: {} }),
    rule: 'additionalProperties',
    path: '/u',
  },
  {
    what: 'a model is closed',
    narrow: closed({ t: {} }),
    wide: { type: 'object', properties: { t: {} } },
    rule: 'additionalProperties',
    path: '/*',
  },
  {
    what: 'a member is narrower',
    narrow: closed({ t: { maximum: 1 } }),
    wide: closed({ t: { maximum: 2 } }),
    rule: 'maximum',
    path: '/t',
  },
  {
    what: 'deeper in',
    narrow: closed({ t: closed({ u: { maximum: 1 } }) }),
    wide: closed({ t: closed({ u: { maximum: 2 } }) }),
    rule: 'maximum',
    path: '/t/u',
  },
  {
    what: 'additionalProperties is narrower',
    narrow: { type: 'object', additionalProperties: { type: 'integer' } },
    wide: { type: 'object', additionalProperties: { type: 'number' } },
    rule: 'type',
    path: '/*',
  },
  {
    what: 'a member is described as the others are',
    narrow: {
      type: 'object',
      properties: { t: { type: 'integer' } },
      additionalProperties: { type: 'number' },
    },
    wide: { type: 'object', additionalProperties: { type: 'number' } },
    rule: 'type',
    path: '/t',
  },
  {
    what: 'minProperties comes',
    narrow: { type: 'object', minProperties: 1 },
    wide: { type: 'object' },
    rule: 'minProperties',
  },
  {
    what: 'maxProperties comes',
    narrow: { type: 'object', maxProperties: 2 },
    wide: { type: 'object' },
    rule: 'maxProperties',
  },
  {
    what: 'what is required counts',
    narrow: { type: 'object', required: ['x', 'y'] },
    wide: { type: 'object', minProperties: 2 },
    rule: 'required',
  },
  {
    what: 'a closed model has few members',
    narrow: closed({ x: {}, y: {} }),
    wide: { type: 'object', maxProperties: 2 },
    rule: 'additionalProperties',
  },
  {
    what: 'patternProperties are narrower',
    narrow: { type: 'object', patternProperties: { '^s_': { maxLength: 2 } } },
    wide: { type: 'object', patternProperties: { '^s_': { maxLength: 4 } } },
    rule: 'maxLength',
    path: '/*',
  },
  {
    what: 'a member that a pattern is about',
    narrow: { type: 'object', patternProperties: { '^s_': { type: 'string' } } },
    wide: { type: 'object', properties: { s_a: { type: 'string' } } },
    rule: 'type',
  },
  {
    what: 'propertyNames comes',
    narrow: { type: 'object', propertyNames: { maxLength: 3 } },
    wide: { type: 'object' },
    rule: 'maxLength',
  },
  {
    what: 'propertyNames lists fewer',
    narrow: { type: 'object', propertyNames: { enum: ['a'] } },
    wide: { type: 'object', propertyNames: { enum: ['a', 'b'] } },
    rule: 'propertyNames',
  },
  {
    what: 'dependentRequired comes',
    narrow: { type: 'object', dependentRequired: { x: ['y'] } },
    wide: { type: 'object' },
    rule: 'required',
  },
  {
    what: 'dependentSchemas comes',
    narrow: { type: 'object', dependentSchemas: { x: { required: ['y'] } } },
    wide: { type: 'object' },
    rule: 'required',
  },
  {
    what: 'what is always required is so with a member',
    narrow: { type: 'object', required: ['y'] },
    wide: { type: 'object', dependentRequired: { x: ['y'] } },
    rule: 'required',
  },
  {
    what: 'dependencies of draft-07',
    narrow: {
      $schema: 'http://json-schema.org/draft-07/schema#',
      type: 'object',
      dependencies: { x: ['y'] },
    },
    wide: { $schema: 'http://json-schema.org/draft-07/schema#', type: 'object' },
    rule: 'required',
  },
  {
    what: 'unevaluatedProperties sees through allOf',
    narrow: {
      type: 'object',
      allOf: [{ properties: { x: {} } }],
      properties: { y: {} },
      unevaluatedProperties: false,
    },
    wide: { type: 'object', allOf: [{ properties: { x: {} } }] },
    rule: 'unevaluatedProperties',
    path: '/*',
  },
  // In place.
  {
    what: 'allOf asks for more',
    narrow: { allOf: [{ minimum: 1 }, { maximum: 5 }] },
    wide: { minimum: 1 },
    rule: 'maximum',
  },
  {
    what: 'a way of anyOf goes',
    narrow: { anyOf: [{ type: 'string' }] },
    wide: { anyOf: [{ type: 'string' }, { type: 'number' }] },
    rule: 'anyOf',
  },
  {
    what: 'a type for each way',
    narrow: { type: 'string' },
    wide: { anyOf: [{ type: 'string' }, { type: 'null' }] },
    rule: 'type',
  },
  {
    what: 'a list of types as ways',
    narrow: { type: ['number', 'null'] },
    wide: { anyOf: [{ type: 'number' }, { type: 'null' }, { type: 'string' }] },
    rule: 'type',
  },
  { what: 'a kind of message goes', narrow: { oneOf: [a, b] }, wide: { oneOf: [a, b, c] }, rule: 'oneOf' },
  {
    what: 'one kind of message of several',
    narrow: a,
    wide: { oneOf: [a, b] },
    rule: 'const',
    path: '/kind',
  },
  {
    what: 'not comes, and is provable',
    narrow: { type: 'number', not: { const: 0 } },
    wide: { type: 'number' },
    rule: 'not',
  },
  {
    what: 'what is apart is not',
    narrow: { type: 'number', minimum: 1 },
    wide: { not: { type: 'string' } },
    rule: 'type',
  },
  {
    what: 'a condition comes',
    narrow: conditional,
    wide: { type: 'object' },
    rule: 'required',
  },
  {
    what: 'what a condition asks anyway',
    narrow: { type: 'object', required: ['y'] },
    wide: conditional,
    rule: 'required',
  },
  {
    what: '$ref leads to something narrower',
    narrow: { $ref: '#/$defs/t', $defs: { t: { maximum: 1 } } },
    wide: { $ref: '#/$defs/t', $defs: { t: { maximum: 2 } } },
    rule: 'maximum',
  },
  {
    what: '$ref instead of what it leads to',
    narrow: { properties: { t: { $ref: '#/$defs/t' } }, $defs: { t: { maximum: 1 } } },
    wide: { properties: { t: { maximum: 2 } } },
    rule: 'maximum',
    path: '/t',
  },
  {
    what: 'an anchor',
    narrow: { $ref: '#t', $defs: { one: { $anchor: 't', type: 'integer' } } },
    wide: { type: 'number' },
    rule: 'type',
  },
  {
    what: 'a list that refers to itself',
    narrow: list({ type: 'integer' }),
    wide: list({ type: 'number' }),
    rule: 'type',
    path: '/value',
  },
  {
    what: 'a tree that refers to itself, by another name',
    narrow: { $ref: '#/$defs/n', $defs: { n: { type: 'array', items: { $ref: '#/$defs/n' }, maxItems: 2 } } },
    wide: { $ref: '#/$defs/m', $defs: { m: { type: 'array', items: { $ref: '#/$defs/m' }, maxItems: 3 } } },
    rule: 'maxItems',
  },
]

/** What says the same in other words: compatible both ways. */
export const rewordings: readonly { what: string; one: unknown; other: unknown }[] = [
  {
    what: 'annotations',
    one: { type: 'number', title: 'x', description: 'y', examples: [1], default: 1 },
    other: { type: 'number' },
  },
  {
    what: 'a unit of our own',
    one: { type: 'number', unit: 'Cel' },
    other: { type: 'number', 'x-unit': 'K' },
  },
  {
    what: 'the order of members, and of what is required',
    one: { properties: { a: {}, b: {} }, required: ['a', 'b'] },
    other: { required: ['b', 'a'], properties: { b: {}, a: {} } },
  },
  {
    what: 'a bound of whole numbers',
    one: { type: 'integer', minimum: 1 },
    other: { type: 'integer', exclusiveMinimum: 0 },
  },
  {
    what: 'whole numbers are multiples of one',
    one: { type: 'integer' },
    other: { type: 'number', multipleOf: 1 },
  },
  { what: 'a const is an enum of one', one: { const: 'a' }, other: { enum: ['a'] } },
  {
    what: 'types of a list',
    one: { type: ['string', 'null'] },
    other: { anyOf: [{ type: 'null' }, { type: 'string' }] },
  },
  {
    what: 'definitions have another name',
    one: { $ref: '#/$defs/a', $defs: { a: { type: 'string' } } },
    other: { $ref: '#/$defs/b', $defs: { b: { type: 'string' } } },
  },
  {
    what: 'items of an older draft',
    one: {
      $schema: 'http://json-schema.org/draft-07/schema#',
      items: [{ type: 'string' }],
      additionalItems: false,
    },
    other: { prefixItems: [{ type: 'string' }], items: false },
  },
  {
    what: 'dependencies by another word',
    one: { $schema: 'http://json-schema.org/draft-07/schema#', dependencies: { a: ['b'] } },
    other: { dependentRequired: { a: ['b'] } },
  },
  { what: 'allOf of one', one: { allOf: [{ maximum: 3 }] }, other: { maximum: 3 } },
  {
    what: 'not of a type',
    one: { not: { type: 'string' } },
    other: { type: ['null', 'boolean', 'number', 'array', 'object'] },
  },
]
