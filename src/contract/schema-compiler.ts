import { Ajv, type Options, str, type ValidateFunction } from 'ajv'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { editDistance } from '../edit-distance.ts'
import { isMultiple } from './decimal.ts'

export type Validate = ValidateFunction

/** JSON Schema's dialects, by what `$schema` says of them, scheme and fragment aside. */
const dialects: Readonly<Record<string, (options: Options) => Ajv>> = {
  'json-schema.org/draft/2020-12/schema': (options) => new Ajv2020(options),
  'json-schema.org/draft/2019-09/schema': (options) => new Ajv2019(options),
  'json-schema.org/draft-07/schema': (options) => new Ajv(options),
}
const standard = 'json-schema.org/draft/2020-12/schema'

/**
 * Makes a validator of a JSON Schema: 2020-12, or the dialect that its `$schema` names. A keyword that JSON Schema does not
 * know is an annotation (2020-12, 4.3.1) unless it is a slip of one that it knows. `format` is an annotation.
 * @param others schemas that it may refer to, by their `$id`
 * @throws Error what is wrong with it, and where
 */
export function compileSchema(schema: unknown, others: readonly unknown[]): Validate {
  if (typeof schema !== 'boolean' && !isObject(schema))
    throw new Error('a schema is an object, true or false')
  const unknownKeywords: string[] = []
  const ajv = createAjv(dialectOf(schema), (keyword) => unknownKeywords.push(keyword))
  for (const other of othersOf(schema, others)) ajv.addSchema(other)
  const validate = ajv.compile(withoutDialect(schema))
  const known = Object.keys(ajv.RULES.keywords)
  const slips = unknownKeywords.flatMap((keyword) => slipOf(keyword, known) ?? [])
  if (slips.length > 0) throw new Error(slips.join('; '))
  return validate
}

function createAjv(dialect: string, onUnknown: (keyword: string) => void): Ajv {
  const create = dialects[dialect]
  if (!create) {
    throw new Error(
      `$schema: ${dialect} is none that is known here: https://${Object.keys(dialects).join(', https://')}`,
    )
  }
  const tell = (...about: unknown[]): void => {
    const keyword = /unknown keyword: "(.*)"$/.exec(String(about[0]))?.[1]
    if (keyword !== undefined) onUnknown(keyword)
  }
  const ajv = create({
    allErrors: true,
    strict: false,
    strictSchema: 'log',
    validateFormats: false,
    logger: { log: tell, warn: tell, error: tell },
  })
  ajv.removeKeyword('multipleOf')
  ajv.addKeyword({
    keyword: 'multipleOf',
    type: 'number',
    schemaType: 'number',
    compile: (divisor: number) => (value: number) => isMultiple(value, divisor),
    error: { message: ({ schemaCode }) => str`must be multiple of ${schemaCode}` },
  })
  return ajv
}

function dialectOf(schema: object | boolean): string {
  const named: unknown = typeof schema === 'object' && '$schema' in schema ? schema.$schema : undefined
  if (named === undefined) return standard
  if (typeof named !== 'string') throw new Error('$schema: must be a text')
  return named.replace(/^https?:\/\//, '').replace(/#$/, '')
}

/** Which dialect it is has been looked at. */
function withoutDialect(schema: object | boolean): object | boolean {
  if (typeof schema === 'boolean') return schema
  const { $schema: _dialect, ...rest } = schema as Record<string, unknown>
  return rest
}

/** Two versions of a type may have one `$id`: each then means itself. */
function othersOf(schema: object | boolean, others: readonly unknown[]): object[] {
  const taken = new Set([idOf(schema)])
  const found: object[] = []
  for (const other of others) {
    const id = idOf(other)
    if (id === undefined || taken.has(id) || !isObject(other) || dialectOf(other) !== dialectOf(schema))
      continue
    taken.add(id)
    found.push(withoutDialect(other) as object)
  }
  return found
}

function idOf(schema: unknown): string | undefined {
  return isObject(schema) && typeof schema['$id'] === 'string' ? schema['$id'] : undefined
}

/** A slip in one of these loses no check. */
const annotations = new Set(
  'title description default examples deprecated readOnly writeOnly format $comment contentEncoding contentMediaType contentSchema'.split(
    ' ',
  ),
)

function slipOf(keyword: string, known: readonly string[]): string | undefined {
  const meant = known.find(
    (name) =>
      !annotations.has(name) &&
      (name.toLowerCase() === keyword.toLowerCase() ||
        (name.length >= 6 && editDistance(keyword, name, 1) === 1)),
  )
  if (meant === undefined) return undefined
  return `there is no keyword "${keyword}"; did you mean "${meant}"? (an annotation of that name may be written x-${keyword})`
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
