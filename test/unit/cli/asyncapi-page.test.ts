import { expect, test } from 'vitest'
import { pageOf } from '../../../cli/asyncapi/page/page.ts'

const attack = `<script>alert('x')</script><img src=x onerror="alert(1)">&amp;"'`

/** A document in which whatever somebody may have written is an attack. */
function documents(text: string): { asyncapi: object; openapi: object } {
  const schema = {
    title: text,
    description: text,
    type: 'object',
    properties: { [text]: { description: text, enum: [text], pattern: text, default: text } },
    anyOf: [{ $ref: text }, { const: text }],
  }
  const component = { schemaFormat: text, schema }
  const message = { title: text, summary: text, contentType: text, headers: schema, payload: component }
  return {
    asyncapi: {
      info: { title: text, description: text },
      servers: { gateway: { host: text, protocol: text, protocolVersion: text, description: text } },
      channels: {
        [text]: {
          address: text,
          title: text,
          description: text,
          servers: [{ $ref: '#/servers/gateway' }],
          parameters: { [text]: { description: text, enum: [text] } },
          messages: { [text]: {} },
          bindings: { [text]: text },
        },
      },
      operations: { a: { action: 'send', channel: { $ref: `#/channels/${text}` }, description: text } },
      components: {
        messages: {
          [text]: { ...message, examples: [{ summary: text, payload: { a: text }, headers: { a: text } }] },
        },
        schemas: { [text]: component },
      },
    },
    openapi: {
      info: { description: text },
      tags: [{ name: text }],
      paths: {
        [text]: {
          get: {
            tags: [text],
            operationId: text,
            summary: text,
            description: text,
            parameters: [{ name: text, in: text, description: text, schema }],
            requestBody: { content: { [text]: { schema } } },
            responses: { [text]: { description: text, content: { [text]: { schema } } } },
          },
        },
      },
      components: { schemas: { [text]: schema } },
    },
  }
}

function pageWith(text: string): string {
  const { asyncapi, openapi } = documents(text)
  return pageOf(asyncapi as Record<string, unknown>, openapi as Record<string, unknown>)
}

/** Every tag of a page with its attributes. */
const tagsIn = (page: string): string[] => page.match(/<[^>]*>/g) ?? []

const shapeOf = (page: string): string[] =>
  tagsIn(page).map((tag) => tag.replaceAll(/(id|href)="[^"]*"/g, '$1'))

test('whatever comes from a schema is text: no tag and no attribute is made of it', () => {
  const page = pageWith(attack)
  expect(page).not.toContain('<script')
  expect(page).not.toContain('<img')
  expect(page).toContain('&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;')
  // The same tags, whatever the texts.
  expect(shapeOf(page)).toEqual(shapeOf(pageWith('plain')))
})

test('it needs nothing from elsewhere and runs nothing', () => {
  const page = pageWith('plain')
  const names = new Set(tagsIn(page).map((tag) => /^<[/!]?(\w+)/.exec(tag)?.[1]))
  for (const name of ['script', 'link', 'img', 'iframe', 'object', 'form', 'base'])
    expect(names.has(name)).toBe(false)
  const links = [...page.matchAll(/(?:href|src)="([^"]*)"/g)].map(([, to = '']) => to)
  expect(links.filter((to) => !to.startsWith('#'))).toEqual([])
  expect(page).not.toMatch(/url\(|@import/)
  expect(page).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`)
})
