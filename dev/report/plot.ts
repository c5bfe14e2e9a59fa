/** Plots as SVG text: panels above one another over one time axis, with bands across all of them. */

interface Line {
  name: string
  /** Names its colour: class `line-<id>`. */
  id: string
  points: readonly (readonly [x: number, y: number])[]
  /** Fills what is below it. */
  area?: boolean
}

export interface Panel {
  title: string
  /** What the y axis counts, such as `events`. */
  unit: string
  scale: 'linear' | 'log'
  lines: readonly Line[]
  height: number
  format(value: number): string
}

export interface Band {
  from: number
  to: number
  /** Names its colour: class `band-<id>`. */
  id: string
  label: string
}

export interface PlotOptions {
  panels: readonly Panel[]
  bands: readonly Band[]
  /** Of the time axis, s. */
  xMax: number
}

/** Geometry that the page's script needs to find a time under the pointer. */
export const frame = { width: 1000, left: 64, right: 16, laneHeight: 18, panelGap: 46, axis: 34 } as const

interface Placed {
  panel: Panel
  top: number
  yMin: number
  yMax: number
}

export function renderPlot(options: PlotOptions): string {
  const { panels, bands } = options
  const xMax = Math.max(options.xMax, 1)
  const innerWidth = frame.width - frame.left - frame.right
  const x = (seconds: number): number => frame.left + (Math.min(seconds, xMax) / xMax) * innerWidth
  const lanes = layOutLabels(bands, x)
  const lanesHeight = lanes.count * frame.laneHeight
  let top = lanesHeight + frame.panelGap - 14
  const placed = panels.map((panel): Placed => {
    const here = { panel, top, ...rangeOf(panel) }
    top += panel.height + frame.panelGap
    return here
  })
  const bottom = top - frame.panelGap
  const height = bottom + frame.axis

  const bandMarks = bands.map((band, index) => {
    const left = x(band.from)
    const width = Math.max(2, x(band.to) - left)
    const laneTop = (lanes.rows[index] ?? 0) * frame.laneHeight
    const labelLeft = lanes.lefts[index] ?? left
    return (
      `<g class="band band-${band.id}"><title>${escapeText(band.label)}</title>` +
      `<rect x="${n(left)}" y="${lanesHeight + 2}" width="${n(width)}" height="${n(bottom - lanesHeight - 2)}"/>` +
      `<line x1="${n(left)}" x2="${n(left)}" y1="${n(laneTop + 14)}" y2="${n(bottom)}"/>` +
      `<text x="${n(labelLeft)}" y="${laneTop + 11}">${escapeText(band.label)}</text></g>`
    )
  })

  const body = placed.map((place) => renderPanel(place, x, xMax))
  const axis = within(ticks(0, xMax, 10), xMax).map(
    (seconds) =>
      `<text class="tick" x="${n(x(seconds))}" y="${n(bottom + 18)}" text-anchor="middle">${timeLabel(seconds)}</text>`,
  )
  return (
    `<svg viewBox="0 0 ${frame.width} ${n(height)}" role="img" aria-labelledby="plot-title plot-text" tabindex="0" ` +
    `data-top="${lanesHeight}" data-bottom="${n(bottom)}" data-max="${xMax}">` +
    `<title id="plot-title">The run over time</title><desc id="plot-text">${escapeText(describe(placed))}</desc>` +
    `${bandMarks.join('')}${body.join('')}${axis.join('')}` +
    `<line class="cursor" x1="0" x2="0" y1="${lanesHeight}" y2="${n(bottom)}" visibility="hidden"/></svg>`
  )
}

function renderPanel(
  { panel, top, yMin, yMax }: Placed,
  x: (seconds: number) => number,
  xMax: number,
): string {
  const { height, scale, lines } = panel
  const share = (value: number): number =>
    scale === 'linear'
      ? (value - yMin) / (yMax - yMin)
      : Math.log(Math.max(value, yMin) / yMin) / Math.log(yMax / yMin)
  const y = (value: number): number => top + height * (1 - Math.min(1, Math.max(0, share(value))))
  const grid = (scale === 'linear' ? ticks(yMin, yMax, 4) : decades(yMin, yMax)).map(
    (value) =>
      `<line class="grid" x1="${frame.left}" x2="${frame.width - frame.right}" y1="${n(y(value))}" y2="${n(y(value))}"/>` +
      `<text class="tick" x="${frame.left - 8}" y="${n(y(value) + 4)}" text-anchor="end">${escapeText(panel.format(value))}</text>`,
  )
  const vertical = within(ticks(0, xMax, 10), xMax).map(
    (seconds) =>
      `<line class="grid" x1="${n(x(seconds))}" x2="${n(x(seconds))}" y1="${n(top)}" y2="${n(top + height)}"/>`,
  )
  const drawn = lines.map(({ id, points, area }) => {
    const path = points.map(([seconds, value]) => `${n(x(seconds))},${n(y(value))}`).join(' ')
    const [first] = points
    const last = points.at(-1)
    const fill =
      area === true && first && last
        ? `<polygon class="area line-${id}" points="${n(x(first[0]))},${n(top + height)} ${path} ${n(x(last[0]))},${n(top + height)}"/>`
        : ''
    return `${fill}<polyline class="line line-${id}" points="${path}"/>`
  })
  const heading = `<text class="panel" x="${frame.left}" y="${n(top - 12)}">${escapeText(panel.title)} <tspan class="unit">${escapeText(panel.unit)}</tspan></text>`
  const legend = lines.length > 1 ? renderLegend(lines, top - 12) : ''
  return `<g>${grid.join('')}${vertical.join('')}${heading}${legend}${drawn.join('')}</g>`
}

/** Right-aligned above its panel; a swatch and a word each. */
function renderLegend(lines: readonly Line[], baseline: number): string {
  let right = frame.width - frame.right
  return lines
    .toReversed()
    .map(({ id, name }) => {
      const textLeft = right - name.length * 7.2
      const swatch = textLeft - 22
      right = swatch - 16
      return (
        `<line class="line line-${id}" x1="${n(swatch)}" x2="${n(swatch + 16)}" y1="${n(baseline - 4)}" y2="${n(baseline - 4)}"/>` +
        `<text class="legend" x="${n(textLeft)}" y="${n(baseline)}">${escapeText(name)}</text>`
      )
    })
    .join('')
}

/** Labels that would cover one another go into rows of their own. */
function layOutLabels(
  bands: readonly Band[],
  x: (seconds: number) => number,
): { rows: number[]; lefts: number[]; count: number } {
  const ends: number[] = []
  const rows: number[] = []
  const lefts: number[] = []
  for (const band of bands) {
    const width = band.label.length * 6.4 + 14
    const left = Math.min(x(band.from) + 5, frame.width - frame.right - width)
    const free = ends.findIndex((end) => end <= left)
    const row = free === -1 ? ends.length : free
    ends[row] = left + width
    rows.push(row)
    lefts.push(left)
  }
  return { rows, lefts, count: Math.max(1, ends.length) }
}

function rangeOf({ scale, lines }: Panel): { yMin: number; yMax: number } {
  const values = lines.flatMap(({ points }) => points.map(([, value]) => value))
  const top = Math.max(1, ...values)
  if (scale === 'linear') return { yMin: 0, yMax: ticks(0, top, 4).at(-1) ?? top }
  const low = Math.min(top, ...values.filter((value) => value > 0))
  const yMin = 10 ** Math.floor(Math.log10(Math.max(low, 0.1)))
  return { yMin, yMax: Math.max(yMin * 10, 10 ** Math.ceil(Math.log10(top))) }
}

/** Round values from min to at least max, about `count` of them (Heckbert, "Nice numbers for graph labels", 1990). */
export function ticks(min: number, max: number, count: number): number[] {
  const rough = (max - min) / count
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power
  const values: number[] = []
  for (let value = Math.ceil(min / step) * step; value < max + step * 0.999; value += step) {
    values.push(Number(value.toPrecision(12)))
  }
  return values
}

function within(values: readonly number[], max: number): number[] {
  return values.filter((value) => value <= max)
}

function decades(min: number, max: number): number[] {
  const values: number[] = []
  for (let value = min; value <= max * 1.001; value *= 10) values.push(value)
  return values
}

/** The seconds that are over: a run of two minutes and a moment is one of 2:00. */
export function timeLabel(seconds: number): string {
  const whole = Math.floor(seconds)
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`
}

function describe(placed: readonly Placed[]): string {
  return placed
    .map(({ panel }) => {
      const lines = panel.lines.map(({ name, points }) => {
        const top = Math.max(0, ...points.map(([, value]) => value))
        return `${name} up to ${panel.format(top)}`
      })
      return `${panel.title} (${panel.unit}): ${lines.join(', ')}.`
    })
    .join(' ')
}

export function escapeText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}

function n(value: number): string {
  return String(Math.round(value * 10) / 10)
}
