import { isObject, type Json, resolvePointer } from '../json.ts'
import { fold, html, jsonText, type Markup, paragraph, table } from './markup.ts'
import { schemaMarkup } from './schema-page.ts'

/** The AsyncAPI document: servers, channels by server, messages, schemas. */
export function eventsMarkup(document: Json): Markup {
  const { servers, channels, components } = document as Record<string, Record<string, Json>>
  const { messages, schemas } = components as Record<string, Record<string, Json>>
  const sections = Object.entries(servers ?? {}).map(([key, server]) => {
    const own = Object.entries(channels ?? {}).filter(([, channel]) => isOn(channel, key))
    return html`<section id="server-${key}">
      <h2>${String(server['description'])}</h2>
      <p>
        ${String(server['protocol'])} ${String(server['protocolVersion'])},
        <code>${String(server['host'])}</code>
      </p>
      ${own.map(([name, channel]) => channelMarkup(name, channel, document))}
    </section> `
  })
  const all = Object.entries(messages ?? {}).map(([key, message]) => messageMarkup(key, message))
  const shapes = Object.entries(schemas ?? {}).map(([key, schema]) =>
    fold(key, schemaMarkup(schema), `schema-${key}`),
  )
  return html`${sections}
    <section id="messages">
      <h2>Messages</h2>
      ${all}
    </section>
    <section id="schemas">
      <h2>Schemas</h2>
      ${shapes}
    </section>`
}

function isOn({ servers }: Json, key: string): boolean {
  return JSON.stringify(servers).includes(`"#/servers/${key}"`)
}

function channelMarkup(key: string, channel: Json, document: Json): Markup {
  const operations = Object.values(document['operations'] as Record<string, Json>).filter(
    (operation) => (operation['channel'] as Json)['$ref'] === `#/channels/${key}`,
  )
  const does = operations.map(({ action }) => (action === 'receive' ? 'Tidegate receives' : 'Tidegate sends'))
  const parameters = Object.entries((channel['parameters'] ?? {}) as Record<string, Json>).map(
    ([name, parameter]) => [html`<code>{${name}}</code>`, parameterMarkup(parameter, document)],
  )
  const messages = Object.keys(channel['messages'] as Json).map(
    (name) => html`<li><a href="#message-${name}">${name}</a></li>`,
  )
  const more = Object.entries(channel).filter(
    ([name]) => name === 'bindings' || name.startsWith('x-tidegate-'),
  )
  return fold(
    html`<code>${String(channel['address'])}</code>
      <span class="quiet">${[...new Set(does)].join(', ')}</span>`,
    html`${paragraph(channel['title'])}${paragraph(channel['description'])}
      ${operations.map(({ description }) => paragraph(description))}
      ${table(['in the address', 'is'], parameters)}
      <p>Messages:</p>
      <ul>
        ${messages}
      </ul>
      ${more.length > 0 && fold('Settings', jsonText(Object.fromEntries(more)))}`,
    `channel-${key}`,
  )
}

function parameterMarkup(parameter: Json, document: Json): Markup {
  const { $ref: reference } = parameter
  const found = typeof reference === 'string' ? resolvePointer(document, reference) : parameter
  if (!isObject(found)) return html``
  const values = Array.isArray(found['enum']) ? html`<p class="quiet">${found['enum'].join(', ')}</p>` : ''
  return html`${paragraph(found['description'])}${values}`
}

function messageMarkup(key: string, message: Json): Markup {
  const { title, summary, contentType, headers, payload, examples = [] } = message
  const shown = (examples as Json[]).map(
    (example) =>
      html`<h4>Example</h4>
        ${paragraph(example['summary'])}
        ${example['headers'] !== undefined && jsonText(example['headers'])}${jsonText(example['payload'])}`,
  )
  return fold(
    html`${key} <span class="quiet">${String(title)}</span>`,
    html`${paragraph(summary)}${typeof contentType === 'string' && html`<p class="quiet">${contentType}</p>`}
    ${
      headers !== undefined &&
      html`<h4>Headers</h4>
        ${schemaMarkup(headers)}`
    }
    ${
      payload !== undefined &&
      html`<h4>Payload</h4>
        ${schemaMarkup(payload)}`
    }${shown}`,
    `message-${key}`,
  )
}
