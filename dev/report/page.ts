/** The page's own style and script, kept apart from what it says. */

export const style = `
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #ffffff; --ink: #17202b; --soft: #5a6675; --rule: #e2e6eb;
  --good: #0b7a4b; --good-ground: #e3f5ec; --bad: #b3261e; --bad-ground: #fce8e6;
  --depth: #2f6db5; --published: #8a94a0; --acknowledged: #2f6db5; --forwarded: #c9820a; --stored: #0b8457; --p50: #2f6db5; --p99: #a03a8c;
  --link: #c9820a; --kill: #c2332b }
@media (prefers-color-scheme: dark) { :root { --ground: #10151b; --card: #181f27; --ink: #e6ebf0; --soft: #98a5b3; --rule: #2a343f;
  --good: #5bd6a0; --good-ground: #12352a; --bad: #ff9a90; --bad-ground: #43201d;
  --depth: #74b0f4; --published: #7d8894; --acknowledged: #74b0f4; --forwarded: #f0b44c; --stored: #4fd0a0; --p50: #74b0f4; --p99: #e58ad2;
  --link: #f0b44c; --kill: #ff7d73 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 64px }
header { display: flex; flex-wrap: wrap; gap: 16px 32px; justify-content: space-between; align-items: center; margin-bottom: 20px }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -.01em } h2 { font-size: 16px; margin: 0 0 12px }
header p { margin: 0; color: var(--soft); max-width: 62ch }
header .verdict { border-radius: 10px; padding: 10px 16px; font-size: 13px } .verdict strong { display: block; font-size: 17px }
.verdict.good { background: var(--good-ground); color: var(--good) } .verdict.bad { background: var(--bad-ground); color: var(--bad) }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 18px 20px; margin-top: 16px }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(215px, 1fr)); gap: 1px; padding: 0; overflow: hidden; background: var(--rule) }
.tile { background: var(--card); padding: 14px 20px } .tile span, .tile small { display: block; color: var(--soft); font-size: 13px }
.tile strong { font-size: 24px; line-height: 1.3; font-weight: 600; font-variant-numeric: tabular-nums } .tile.good strong { color: var(--good) } .tile.bad strong { color: var(--bad) }
.plot { margin: 0; position: relative; overflow-x: auto } svg { display: block; width: 100%; min-width: 640px; height: auto; font: 12px system-ui, sans-serif; outline-offset: 4px }
svg text { fill: var(--soft) } svg .panel { font-size: 14px; font-weight: 600; fill: var(--ink) } svg .unit { font-weight: 400; fill: var(--soft); font-size: 12px } svg .tick { font-size: 11px; font-variant-numeric: tabular-nums }
.grid { stroke: var(--rule); stroke-width: 1 } .line { fill: none; stroke-width: 1.8; stroke-linejoin: round } .area { stroke: none; opacity: .16 }
.line-depth { stroke: var(--depth) } .area.line-depth { fill: var(--depth) } .line-published { stroke: var(--published); stroke-dasharray: 3 3 } .line-acknowledged { stroke: var(--acknowledged) }
.line-forwarded { stroke: var(--forwarded) } .line-stored { stroke: var(--stored) } .line-p50 { stroke: var(--p50) } .line-p99 { stroke: var(--p99) }
.band rect { opacity: .13 } .band line { stroke-width: 1 } .band-link rect { fill: var(--link) } .band-link line { stroke: var(--link) } .band-link text { fill: var(--link) }
.band-kill rect { fill: var(--kill) } .band-kill line { stroke: var(--kill) } .band-kill text { fill: var(--kill) } .band text { font-weight: 600; font-size: 11.5px }
.cursor { stroke: var(--ink); stroke-width: 1; opacity: .5 }
.tip { position: absolute; top: 24px; pointer-events: none; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 8px 12px; font-size: 12.5px; box-shadow: 0 4px 18px rgb(0 0 0 / .18); white-space: nowrap; font-variant-numeric: tabular-nums }
.tip b { display: block } .tip i { display: inline-block; width: 10px; height: 3px; border-radius: 2px; margin-right: 7px; vertical-align: middle }
.hint { color: var(--soft); font-size: 13px; margin: 8px 0 0 }
table { width: 100%; border-collapse: collapse } th, td { text-align: left; padding: 7px 10px 7px 0; border-top: 1px solid var(--rule); vertical-align: top } thead th { border-top: 0; color: var(--soft); font-weight: 500; font-size: 13px }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap } .mark { width: 26px; font-weight: 700 } tr.good .mark { color: var(--good) } tr.bad .mark, tr.bad .number { color: var(--bad) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 0 } dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
@media print { body { background: #fff } section { break-inside: avoid } .hint { display: none } }
`

/** Reads values under the pointer or, with the arrow keys, under the cursor. The page is complete without it. */
export const script = `
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent)
  const lines = read('data'), frame = read('frame')
  const svg = document.querySelector('.plot svg'), tip = document.querySelector('.tip'), cursor = svg.querySelector('.cursor')
  const max = Number(svg.dataset.max), inner = frame.width - frame.left - frame.right
  let at = 0
  const nearest = (points, x) => {
    let low = 0, high = points.length - 1
    while (high - low > 1) { const middle = (low + high) >> 1; if (points[middle][0] <= x) low = middle; else high = middle }
    const best = points[high] && Math.abs(points[high][0] - x) < Math.abs(points[low][0] - x) ? points[high] : points[low]
    return best && Math.abs(best[0] - x) <= max / 40 + 1 ? best[1] : undefined
  }
  const say = (value, unit) => unit.startsWith('from') ? (value < 1000 ? value.toFixed(value < 10 ? 1 : 0) + ' ms' : (value / 1000).toFixed(1) + ' s') : Math.round(value).toLocaleString('en-US')
  const show = (seconds) => {
    at = Math.min(max, Math.max(0, seconds))
    const x = frame.left + (at / max) * inner
    cursor.setAttribute('x1', x); cursor.setAttribute('x2', x); cursor.setAttribute('visibility', 'visible')
    const time = document.createElement('b'); time.textContent = at.toFixed(1) + ' s'
    const rows = lines.map(({ id, name, unit, points }) => {
      const value = nearest(points, at)
      if (value === undefined) return ''
      const row = document.createElement('div'), swatch = document.createElement('i')
      swatch.style.background = 'var(--' + id + ')'
      row.append(swatch, name + '  ' + say(value, unit))
      return row
    })
    tip.replaceChildren(time, ...rows.filter(Boolean)); tip.hidden = false
    const scale = svg.clientWidth / frame.width, left = x * scale
    tip.style.left = (left + 14 + tip.offsetWidth > svg.clientWidth ? left - tip.offsetWidth - 14 : left + 14) + 'px'
  }
  const hide = () => { tip.hidden = true; cursor.setAttribute('visibility', 'hidden') }
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect()
    show((((event.clientX - box.left) / box.width) * frame.width - frame.left) / inner * max)
  })
  svg.addEventListener('pointerleave', hide)
  svg.addEventListener('blur', hide)
  svg.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
    if (!step) return
    event.preventDefault()
    show(at + step * max / (event.shiftKey ? 20 : 200))
  })
})()
`
