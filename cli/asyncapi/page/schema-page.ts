import { isObject } from '../json.ts'
import { fold, html, jsonText, type Markup, paragraph, table } from './markup.ts'

const depthMax = 8

/** A JSON Schema as a table of its members, with the whole of it behind a fold. */
export function schemaMarkup(schema: unknown, name = 'JSON Schema'): Markup {
  const plain = isObject(schema) && Object.hasOwn(schema, 'schemaFormat') ? schema['schema'] : schema
  const format =
    isObject(schema) && schema !== plain ? html`<p class="quiet">${String(schema['schemaFormat'])}</p>` : ''
  // Avro and Protobuf are shown as they are.
  if (!isJsonSchema(schema))
    return html`${format}${typeof plain === 'string' ? html`<pre>${plain}</pre>` : jsonText(plain)}`
  return html`${bodyOf(plain, 0)}${format}${fold(name, jsonText(plain))}`
}

function isJsonSchema(schema: unknown): boolean {
  const format = isObject(schema) ? schema['schemaFormat'] : undefined
  return typeof format !== 'string' || !/^application\/vnd\.(?:apache\.avro|google\.protobuf)/.test(format)
}

function bodyOf(schema: unknown, depth: number): Markup {
  if (!isObject(schema)) return html`<p>${schema === false ? 'nothing' : 'anything'}</p>`
  const { properties, required, description } = schema
  const all = ['allOf', 'anyOf', 'oneOf'].flatMap((keyword) =>
    (Array.isArray(schema[keyword]) ? (schema[keyword] as unknown[]) : []).map(
      (one) => html`<li>${keywordTexts[keyword]} ${partOf(one, depth)}</li>`,
    ),
  )
  const parts =
    all.length > 0
      ? html`<ul>
          ${all}
        </ul>`
      : ''
  const members = isObject(properties) ? Object.entries(properties) : []
  const needed = new Set(Array.isArray(required) ? (required as unknown[]) : [])
  const rows = members.map(([name, one]) => [
    html`<code>${name}</code>${needed.has(name) ? html`<br /><em>required</em>` : ''}`,
    typeText(one),
    html`${describe(one)}${deeper(one, depth)}`,
  ])
  const own = members.length === 0 && all.length === 0 ? html`<p>${typeText(schema)}</p>` : ''
  return html`${paragraph(description)}${own}${parts}${table(['member', 'type', 'meaning'], rows)}`
}

const keywordTexts: Readonly<Record<string, string>> = {
  allOf: 'all of:',
  anyOf: 'any of:',
  oneOf: 'one of:',
}

function partOf(schema: unknown, depth: number): Markup {
  const link = linkOf(schema)
  if (link) return link
  return depth < depthMax ? bodyOf(schema, depth + 1) : html`…`
}

function deeper(schema: unknown, depth: number): Markup {
  if (!isObject(schema) || depth >= depthMax) return html``
  if (isObject(schema['properties']) || ['allOf', 'anyOf', 'oneOf'].some((keyword) => keyword in schema))
    return bodyOf({ ...schema, description: undefined }, depth + 1)
  const { items } = schema
  return isObject(items) && (isObject(items['properties']) || 'anyOf' in items)
    ? html`<p>each:</p>
        ${bodyOf(items, depth + 1)}`
    : html``
}

function describe(schema: unknown): Markup {
  return isObject(schema) ? html`${paragraph(schema['title'])}${paragraph(schema['description'])}` : html``
}

/** To where the document has what is referred to. */
function linkOf(schema: unknown): Markup | undefined {
  const reference = isObject(schema) ? schema['$ref'] : undefined
  if (typeof reference !== 'string') return undefined
  const [, kind = '', name = ''] =
    /^#\/components\/(schema|message)s\/([^/]+)(\/(payload\/)?schema)?$/.exec(reference) ?? []
  return kind === '' ? html`<code>${reference}</code>` : html`<a href="#${kind}-${name}">${name}</a>`
}

const rules =
  'format pattern minimum exclusiveMinimum maximum exclusiveMaximum multipleOf minLength maxLength minItems maxItems uniqueItems default'.split(
    ' ',
  )

/** Its type and its rules, in a cell of a table. */
export function typeText(schema: unknown): Markup {
  const link = linkOf(schema)
  if (link) return link
  if (!isObject(schema)) return html`${schema === false ? 'nothing' : 'anything'}`
  const { type, items } = schema
  const kinds = [type]
    .flat()
    .filter((one) => one !== undefined)
    .map(String)
  const of = items === undefined ? '' : html` of ${typeText(items)}`
  const values = Object.hasOwn(schema, 'const')
    ? [schema['const']]
    : Array.isArray(schema['enum'])
      ? (schema['enum'] as unknown[])
      : []
  const said = rules
    .filter((rule) => Object.hasOwn(schema, rule))
    .map((rule) => html`<br /><span class="quiet">${rule} ${JSON.stringify(schema[rule])}</span>`)
  const listed = values.map(
    (value, index) => html`${index > 0 ? ', ' : ''}<code>${JSON.stringify(value)}</code>`,
  )
  return html`${kinds.join(' or ') || (values.length > 0 ? '' : 'any')}${of} ${listed}${said}`
}
