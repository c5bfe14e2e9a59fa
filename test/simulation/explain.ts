import { faultSpecs } from './plan/fault-kinds.ts'
import { makePlan, type Plan } from './plan/plan.ts'
import { type RunReport, shrink } from './runs.ts'
import { play } from './world.ts'

const linesShownMax = 200

/** The smallest plan that still fails, its trace, and how to see it again. */
export async function explain(failed: RunReport, write: (text: string) => void): Promise<void> {
  const [violation] = failed.violations
  // A run that spins cannot be shrunk: it would spin here.
  if (!violation || failed.simulatedMs === 0) return
  write(`\nshrinking seed ${failed.seed} …\n`)
  const plan = await shrink(makePlan(failed.seed), violation.guarantee)
  const { lines, violations } = await play(plan)
  const shown = lines.slice(-linesShownMax)
  write(`${describe(plan)}\ntrace\n`)
  if (lines.length > shown.length) write(`… ${lines.length - shown.length} lines before\n`)
  write(`${shown.join('\n')}\n\n`)
  for (const { guarantee, detail } of violations) write(`${guarantee}: ${detail}\n`)
  write(`to see it again: npm run sim -- --seed ${plan.seed} ${kept(plan)} --trace\n`)
}

function describe({ faults, sends, settings }: Plan): string {
  return [
    'faults',
    ...faults.map(
      ({ n, atMs, kind, forMs, times }) =>
        `${moment(n, atMs)}  ${kind} (${faultSpecs[kind].what}), for ${forMs} ms, times ${times}`,
    ),
    'sends',
    ...sends.map(({ n, atMs, device, what, qos }) => `${moment(n, atMs)}  ${device} ${what}, QoS ${qos}`),
    'settings',
    `  ${JSON.stringify(settings)}`,
  ].join('\n')
}

function moment(n: number, atMs: number): string {
  return `  ${String(n).padStart(3)}  ${(atMs / 1000).toFixed(3).padStart(8)} s`
}

function kept({ sends, faults }: Plan): string {
  return `--sends ${list(sends)} --faults ${list(faults)}`
}

/** `none` rather than nothing, so that it is not taken for "all". */
function list(items: readonly { n: number }[]): string {
  return items.length === 0 ? 'none' : items.map(({ n }) => n).join(',')
}
