import type { Json } from '../json.ts'
import { fold, html, type Markup, paragraph, table } from './markup.ts'
import { schemaMarkup, typeText } from './schema-page.ts'

/** The OpenAPI document: operations by tag. */
export function requestsMarkup(document: Json): Markup {
  const { tags = [], paths = {} } = document as { tags?: { name: string }[]; paths?: Json }
  const operations = Object.entries(paths as Record<string, Record<string, Json>>).flatMap(
    ([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )
  const groups = tags.map(({ name }) => {
    const own = operations.filter(({ operation }) => (operation['tags'] as string[]).includes(name))
    return html`<h3>${name}</h3>
      ${own.map(({ path, method, operation }) => operationMarkup(path, method, operation))}`
  })
  const { schemas = {} } = document['components'] as { schemas?: Json }
  const shapes = Object.entries(schemas).map(([key, schema]) =>
    fold(key, schemaMarkup(schema), `schema-${key}`),
  )
  return html`<section id="http">
    <h2>HTTP API of the cloud</h2>
    ${paragraph((document['info'] as Json)['description'])}${groups}
    <h3>Shapes</h3>
    ${shapes}
  </section>`
}

function operationMarkup(path: string, method: string, operation: Json): Markup {
  const parameters = ((operation['parameters'] ?? []) as Json[]).map((parameter) => [
    html`<code>${String(parameter['name'])}</code
      >${parameter['required'] === true && html`<br /><em>required</em>`}`,
    String(parameter['in']),
    html`${paragraph(parameter['description'])}${typeText(parameter['schema'])}`,
  ])
  const body = contentOf(operation['requestBody'])
  const answers = Object.entries(operation['responses'] as Record<string, Json>).map(([status, answer]) =>
    fold(html`${status} <span class="quiet">${String(answer['description'])}</span>`, contentOf(answer)),
  )
  return fold(
    html`<code>${method.toUpperCase()} ${path}</code>
      <span class="quiet">${String(operation['summary'])}</span>`,
    html`${paragraph(operation['description'])}${table(['parameter', 'in', 'meaning'], parameters)}
      ${
        body &&
        html`<h4>Body</h4>
          ${body}`
      }
      <h4>Answers</h4>
      ${answers}`,
    String(operation['operationId']),
  )
}

function contentOf(holder: unknown): Markup | undefined {
  const { content } = (holder ?? {}) as { content?: Record<string, Json> }
  if (content === undefined) return undefined
  return html`${Object.entries(content).map(
    ([type, media]) =>
      html`<p class="quiet">${type}</p>
        ${schemaMarkup(media['x-tidegate-data'] ?? media['schema'])}`,
  )}`
}
