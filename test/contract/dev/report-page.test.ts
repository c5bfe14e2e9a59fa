import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { loadPage } from '../../../dev/report/page.ts'

const client = '../../../dist/dev/report/page/client.js'

afterEach(() => {
  vi.unstubAllGlobals()
  vi.resetModules()
})

/** As much of an element as the page's script uses. */
class FakeElement {
  readonly dataset: Record<string, string> = {}
  readonly style: Record<string, string> = {}
  readonly attributes: Record<string, string> = {}
  readonly listeners: Record<string, (event: object) => void> = {}
  readonly clientWidth = 1000
  readonly offsetWidth = 100
  children: unknown[] = []
  textContent = ''
  hidden = true

  setAttribute(name: string, value: string): void {
    this.attributes[name] = value
  }
  addEventListener(name: string, listener: (event: object) => void): void {
    this.listeners[name] = listener
  }
  append(...children: unknown[]): void {
    this.children.push(...children)
  }
  replaceChildren(...children: unknown[]): void {
    this.children = children
  }
  getBoundingClientRect(): object {
    return { left: 0, width: 1000 }
  }
}

/** A page with ten seconds of two lines, and its script run in it. */
async function shown() {
  const [data, frame, svg, tip, cursor] = Array.from({ length: 5 }, () => new FakeElement()) as [
    FakeElement,
    FakeElement,
    FakeElement,
    FakeElement,
    FakeElement,
  ]
  data.textContent = JSON.stringify([
    {
      id: 'stored',
      name: 'stored',
      unit: 'events per second',
      points: [
        [1, 10],
        [2, 1234.4],
        [3, 30],
      ],
    },
    { id: 'p99', name: 'p99', unit: 'from admission to history', points: [[9, 2500]] },
  ])
  frame.textContent = JSON.stringify({ width: 1000, left: 64, right: 16 })
  svg.dataset['max'] = '10'
  const found: Record<string, FakeElement> = {
    '#data': data,
    '#frame': frame,
    '.plot svg': svg,
    '.tip': tip,
    '.plot svg .cursor': cursor,
  }
  vi.stubGlobal('document', {
    querySelector: (selector: string) => found[selector],
    createElement: () => new FakeElement(),
  })
  await import(client)
  const rows = (): unknown[] =>
    (tip.children as FakeElement[]).map(({ textContent, children }) => textContent || children.at(-1))
  return { svg, tip, cursor, rows }
}

test('the pointer reads each line that has a value near it, in its own unit', async () => {
  const { svg, tip, cursor, rows } = await shown()
  svg.listeners['pointermove']?.({ clientX: 294 })
  expect(rows()).toEqual(['2.5 s', 'stored  1,234'])
  expect(tip.hidden).toBe(false)
  expect(cursor.attributes).toMatchObject({ x1: '294', visibility: 'visible' })
  svg.listeners['pointermove']?.({ clientX: 340 })
  expect(rows()).toEqual(['3.0 s', 'stored  30'])
  svg.listeners['pointermove']?.({ clientX: 892 })
  expect(rows()).toEqual(['9.0 s', 'p99  2.5 s'])
  expect(tip.style['left']).toBe('778px')
  svg.listeners['pointerleave']?.({})
  expect(tip.hidden).toBe(true)
  expect(cursor.attributes['visibility']).toBe('hidden')
})

test('arrow keys move through the run and stop at its ends', async () => {
  const { svg, rows } = await shown()
  const press = (key: string, shiftKey: boolean): unknown => {
    svg.listeners['keydown']?.({ key, shiftKey, preventDefault: () => undefined })
    return rows()[0]
  }
  expect(press('ArrowLeft', false)).toBe('0.0 s')
  expect(press('ArrowRight', true)).toBe('0.5 s')
  expect(press('ArrowRight', false)).toBe('0.6 s')
  for (let times = 0; times < 30; times += 1) press('ArrowRight', true)
  expect(press('ArrowRight', true)).toBe('10.0 s')
  expect(press('Tab', false)).toBe('10.0 s')
})

test('style and script are found from the source as from what is compiled, and ask nothing of a network', async () => {
  const compiled = await import('../../../dist/dev/report/page.js')
  const page = loadPage()
  expect(compiled.loadPage()).toEqual(page)
  expect(page.style).toContain('.tile')
  expect(page.style).not.toMatch(/@import|url\(/)
  expect(page.script).toContain('pointermove')
  expect(page.script).not.toMatch(/^import |\bimport\(|https?:|sourceMappingURL|<\/script/m)
})

test('what is published and the image carry the style, which the compiler leaves where it is', () => {
  const style = 'dev/report/page/style.css'
  expect((JSON.parse(textOf('package.json')) as { files: string[] }).files).toContain(style)
  expect(textOf('Dockerfile').split('FROM').at(-1)).toContain(`COPY ${style} ${style}`)
})

/** Of a file at the root. */
function textOf(file: string): string {
  return readFileSync(join(import.meta.dirname, '../../..', file), 'utf8')
}
