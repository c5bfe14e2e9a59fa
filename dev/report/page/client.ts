/**
 * Runs in the browser, inside the report: reads values under the pointer or, with the arrow keys, under the cursor. The page is
 * complete without it.
 */

/** A line of the plot, as the page holds it in `#data`. */
export interface PageLine {
  /** Names its colour: the property `--<id>`. */
  id: string
  name: string
  /** What its panel's y axis counts. */
  unit: string
  points: readonly (readonly [seconds: number, value: number])[]
}

/** Geometry of the plot, as the page holds it in `#frame`. */
export interface PageFrame {
  width: number
  left: number
  right: number
}

const lines = read('data') as PageLine[]
const frame = read('frame') as PageFrame
const svg = there(document.querySelector<SVGSVGElement>('.plot svg'))
const tip = there(document.querySelector<HTMLElement>('.tip'))
const cursor = there(document.querySelector('.plot svg .cursor'))
const secondsMax = Number(svg.dataset['max'])
const innerWidth = frame.width - frame.left - frame.right
let atSeconds = 0

svg.addEventListener('pointermove', (event) => {
  const box = svg.getBoundingClientRect()
  const x = ((event.clientX - box.left) / box.width) * frame.width
  show(((x - frame.left) / innerWidth) * secondsMax)
})
svg.addEventListener('pointerleave', hide)
svg.addEventListener('blur', hide)
svg.addEventListener('keydown', (event) => {
  const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
  if (direction === undefined) return
  event.preventDefault()
  show(atSeconds + (direction * secondsMax) / (event.shiftKey ? 20 : 200))
})

function read(id: string): unknown {
  return JSON.parse(there(document.querySelector(`#${id}`)).textContent ?? '')
}

function there<T>(found: T | null): T {
  if (found === null) throw new Error('the page is not whole')
  return found
}

function show(seconds: number): void {
  atSeconds = Math.min(secondsMax, Math.max(0, seconds))
  const x = frame.left + (atSeconds / secondsMax) * innerWidth
  cursor.setAttribute('x1', String(x))
  cursor.setAttribute('x2', String(x))
  cursor.setAttribute('visibility', 'visible')
  const time = document.createElement('b')
  time.textContent = `${atSeconds.toFixed(1)} s`
  tip.replaceChildren(time, ...lines.flatMap(rowOf))
  tip.hidden = false
  placeTip(x * (svg.clientWidth / frame.width))
}

function hide(): void {
  tip.hidden = true
  cursor.setAttribute('visibility', 'hidden')
}

/** What a line is at now: a swatch, its name and its value; nothing where it has no point. */
function rowOf({ id, name, unit, points }: PageLine): HTMLElement[] {
  const value = nearest(points, atSeconds)
  if (value === undefined) return []
  const row = document.createElement('div')
  const swatch = document.createElement('i')
  swatch.style.background = `var(--${id})`
  row.append(swatch, `${name}  ${say(value, unit)}`)
  return [row]
}

/** Right of the cursor where there is room, else left of it. */
function placeTip(left: number): void {
  const fits = left + 14 + tip.offsetWidth <= svg.clientWidth
  tip.style.left = `${fits ? left + 14 : left - tip.offsetWidth - 14}px`
}

/** The value of the point nearest to a time, unless that is far away. */
function nearest(points: PageLine['points'], seconds: number): number | undefined {
  let low = 0
  let high = points.length - 1
  while (high - low > 1) {
    const middle = (low + high) >> 1
    const [middleSeconds] = points[middle] ?? [Infinity]
    if (middleSeconds <= seconds) low = middle
    else high = middle
  }
  const [before, after] = [points[low], points[high]]
  if (!before || !after) return undefined
  const best = Math.abs(after[0] - seconds) < Math.abs(before[0] - seconds) ? after : before
  return Math.abs(best[0] - seconds) <= secondsMax / 40 + 1 ? best[1] : undefined
}

function say(value: number, unit: string): string {
  if (!unit.startsWith('from')) return Math.round(value).toLocaleString('en-US')
  return value < 1000 ? `${value.toFixed(value < 10 ? 1 : 0)} ms` : `${(value / 1000).toFixed(1)} s`
}
