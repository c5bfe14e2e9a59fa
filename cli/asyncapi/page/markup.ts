/** HTML that is ready: whatever is no such thing is text, and is shown as text. */
export class Markup {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

type Part = Markup | string | number | boolean | undefined | readonly Part[]

/** HTML with values in it: all of them are escaped but those that were made by this very function. */
export function html(strings: TemplateStringsArray, ...parts: Part[]): Markup {
  return new Markup(strings.reduce((text, next, index) => text + markupOf(parts[index - 1]) + next))
}

function markupOf(part: Part): string {
  if (part instanceof Markup) return part.text
  if (part === undefined || part === false) return ''
  return typeof part === 'object' ? part.map(markupOf).join('') : escaped(String(part))
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => entities[character] as string)
}

/** What folds away. */
export function fold(summary: Markup | string, content: Part, id?: string): Markup {
  const anchor = id === undefined ? '' : html` id="${id}"`
  return html`<details${anchor}><summary>${summary}</summary><div>${content}</div></details>\n`
}

export function table(titles: readonly string[], rows: readonly (readonly Part[])[]): Markup {
  if (rows.length === 0) return html``
  const head = titles.map((title) => html`<th>${title}</th>`)
  const body = rows.map(
    (row) =>
      html`<tr>
        ${row.map((cell) => html`<td>${cell}</td>`)}
      </tr> `,
  )
  return html`<table>
    <thead>
      <tr>
        ${head}
      </tr>
    </thead>
    <tbody>
      ${body}
    </tbody>
  </table> `
}

export function paragraph(text: unknown): Markup {
  return typeof text === 'string' && text !== '' ? html`<p>${withCode(text)}</p>` : html``
}

/** What stands between backticks is code; the rest is text as it is. */
function withCode(text: string): Markup[] {
  return text.split('`').map((one, index) => (index % 2 === 1 ? html`<code>${one}</code>` : html`${one}`))
}

export function jsonText(value: unknown): Markup {
  return html`<pre>${JSON.stringify(value, undefined, 2) ?? ''}</pre> `
}
