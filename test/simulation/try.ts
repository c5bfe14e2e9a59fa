import { makePlan } from './plan.ts'
import { play } from './world.ts'
const from = Number(process.argv[2] ?? 1)
const n = Number(process.argv[3] ?? 20)
const t0 = performance.now()
const counts = new Map<string, number>()
const kinds = new Map<string, number[]>()
let simMs = 0,
  ev = 0
for (let seed = from; seed < from + n; seed++) {
  const t = performance.now()
  if (process.env['V']) console.log('seed', seed)
  const r = await play(makePlan(seed))
  simMs += r.simulatedMs
  ev += r.events
  for (const [k, v] of r.counts) counts.set(k, (counts.get(k) ?? 0) + v)
  if (n === 1) console.log(r.lines.join('\n'))
  if (r.violations[0]) {
    const v = r.violations[0]
    const g = v.guarantee
    kinds.set(g, [...(kinds.get(g) ?? []), seed])
    if (n <= 300) console.log(seed, v.guarantee, v.detail.slice(0, 400), (performance.now() - t).toFixed(0))
  }
}
console.log(
  [...counts]
    .sort()
    .map(([k, v]) => `${k}=${v}`)
    .join(' '),
)
console.log([...kinds])
const s = (performance.now() - t0) / 1000
console.log(
  `${n} runs ${(n / s).toFixed(1)}/s, ${(simMs / n / 1000).toFixed(0)} s simulated each, ${(ev / n).toFixed(0)} events each`,
)
process.exit(0)
