import { type FigureName, figures, figureText } from '../run/figures.ts'
import type { CaseResult } from '../run/results.ts'
import { type Spread, spreadOf } from '../run/statistics.ts'

const geometry = { width: 720, left: 270, right: 130, top: 34, row: 24 } as const

/** Bars of one figure, a subject each, with a line from the lowest to the highest round; undefined if nobody has it. */
export function barChart(result: CaseResult, figure: FigureName): string | undefined {
  const bars = result.subjects.flatMap(({ name, figures: values }) => {
    const spread = spreadOf(values[figure] ?? [])
    return spread ? [{ name, spread }] : []
  })
  if (bars.length === 0) return undefined
  const most = Math.max(...bars.map(({ spread }) => spread.max))
  const height = geometry.top + bars.length * geometry.row + 10
  const { title, better } = figures[figure]
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${geometry.width} ${height}" role="img" font-family="sans-serif" font-size="13">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${geometry.width}" height="${height}" fill="#fff"/>`,
    `<text x="${geometry.left}" y="20" font-weight="bold">${escaped(title)}, ${better} is better</text>`,
    ...bars.map(({ name, spread }, index) =>
      bar(name, spread, {
        most,
        top: geometry.top + index * geometry.row,
        text: figureText(figure, spread.median),
      }),
    ),
    '</svg>\n',
  ].join('\n')
}

function bar(
  name: string,
  { median, min, max }: Spread,
  { most, top, text }: { most: number; top: number; text: string },
): string {
  const { left, right, width } = geometry
  const x = (value: number): number => Math.round((left + (value / most) * (width - left - right)) * 10) / 10
  const colour = /^(bare|Mosquitto)/.test(name) ? '#8a93a0' : '#1f7a6b'
  const middle = top + 9
  return [
    `<text x="${left - 8}" y="${top + 14}" text-anchor="end">${escaped(name)}</text>`,
    `<rect x="${left}" y="${top}" width="${Math.max(1, Math.round(x(median) - left))}" height="18" fill="${colour}"/>`,
    `<line x1="${x(min)}" x2="${x(max)}" y1="${middle}" y2="${middle}" stroke="#222" stroke-width="2"/>`,
    `<text x="${x(max) + 8}" y="${top + 14}">${text}</text>`,
  ].join('')
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
