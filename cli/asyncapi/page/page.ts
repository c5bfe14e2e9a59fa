import type { Json } from '../json.ts'
import { eventsMarkup } from './events-page.ts'
import { html, Markup, paragraph } from './markup.ts'
import { requestsMarkup } from './requests-page.ts'

/**
 * A page to read of both documents: one file, no script, nothing from elsewhere, and whatever comes from a schema is text. A browser is
 * told to hold it to that.
 */
export function pageOf(asyncapi: Json, openapi: Json): string {
  const { description, title } = asyncapi['info'] as Json
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'" />
        <title>${String(title)}</title>
        <style>
          ${style}
        </style>
      </head>
      <body>
        <h1>${String(title)}</h1>
        ${paragraph(description)}
        <nav>
          <a href="#server-gateway">Devices</a> · <a href="#server-rabbitmq">RabbitMQ</a> ·
          <a href="#messages">Messages</a> · <a href="#schemas">Schemas</a> · <a href="#http">HTTP API</a>
        </nav>
        <main>${eventsMarkup(asyncapi)} ${requestsMarkup(openapi)}</main>
      </body>
    </html> `.text
}

const style = new Markup(`
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem; }
code, pre { font: 0.9em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: 0.5rem; border: 1px solid #8886; border-radius: 4px; }
details { border-left: 2px solid #8886; margin: 0.25rem 0; padding-left: 0.75rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
details:target { border-left-color: #06c; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8886; padding: 0.25rem 0.5rem; text-align: left; vertical-align: top; }
td p { margin: 0; }
.quiet { opacity: 0.75; }
`)
