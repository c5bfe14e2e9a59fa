import fc from 'fast-check'
import { faultOfVerdict } from '../support/cloud/schemas/verdicts.ts'
import { pairs } from '../support/cloud/schemas/pairs.ts'
const count = Number(process.argv[2] ?? 500), seed = Number(process.argv[3] ?? 1)
const tally: Record<string, number> = {}
let slow = 0
const t0 = performance.now()
for (const pair of fc.sample(pairs, { numRuns: count, seed })) {
  const t = performance.now()
  const { answer, fault } = faultOfVerdict(pair, { documents: 100 })
  const ms = performance.now() - t
  if (answer === 'unknown' && (tally['unknown'] ?? 0) < 12) console.log('UNKNOWN', JSON.stringify([pair.writer, pair.reader]))
  if (ms > slow) { slow = ms; console.log('slow', Math.round(ms), answer, JSON.stringify([pair.writer, pair.reader]).slice(0, 600)) }
  tally[answer] = (tally[answer] ?? 0) + 1
  if (fault) { tally['fault'] = (tally['fault'] ?? 0) + 1; if (tally['fault'] < 12) console.log('FAULT', fault) }
}
console.log(tally, Math.round(performance.now() - t0))
