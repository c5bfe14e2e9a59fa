import { z } from 'zod'
import { jsonOf, run } from '../servers/command.ts'
import type { Stack } from '../stack/stack.ts'
import type { HistoryReader, RunEpoch, RunFilter } from './history.ts'

/** What `tidegate audit` said of the ledgers this run was written to. */
export interface Audit {
  kind: 'passed' | 'failed'
  detail: string
  /** Events that are not as they were written, or not where they were. */
  faults: number
  ledgers: Ledger[]
}

/** Places of an epoch that hold no event in the history: without an account, and with one, by reason. */
interface Ledger {
  epoch: string
  gaps: Sequences
  undelivered: Record<string, Sequences>
}

interface Sequences {
  count: number
  /** The first ones. */
  ranges: [from: number, to: number][]
}

const auditWithinMs = 300_000

const sequences = z.object({ count: z.number(), ranges: z.array(z.tuple([z.number(), z.number()])) })

/** What we read of `tidegate audit --json`. */
const answerSchema = z.object({
  reports: z.array(
    z.object({
      epoch: z.string(),
      ok: z.boolean(),
      present: z.object({ count: z.number() }),
      gaps: sequences,
      undelivered: z.record(z.string(), sequences),
      faultCount: z.number(),
    }),
  ),
})

export interface AuditParts {
  stack: Pick<Stack, 'cli' | 'gateway' | 'configFiles'>
  history: Pick<HistoryReader, 'epochs'>
  filter: RunFilter
  env: NodeJS.ProcessEnv
}

/** What `tidegate audit` says of the ledgers of a run. */
export async function auditRun(
  { stack, history, filter, env }: AuditParts,
  signal: AbortSignal,
): Promise<Audit> {
  const { cli, gateway, configFiles } = stack
  const epochs = await history.epochs(filter)
  return audit({ cli, configFile: configFiles.clouds[0] ?? '', gateway, epochs, env }, signal)
}

/** Runs `tidegate audit` as a user would, and judges the ledgers (epochs) that this run has written to. */
async function audit(
  options: {
    cli: string
    configFile: string
    gateway: string
    epochs: readonly RunEpoch[]
    env: NodeJS.ProcessEnv
  },
  signal: AbortSignal,
): Promise<Audit> {
  const { cli, configFile, gateway, epochs, env } = options
  const args = [cli, 'audit', '--config', configFile, '--gateway', gateway, '--json']
  const { code, stdout, stderr } = await run(
    { file: process.execPath, args, env },
    { signal, timeoutMs: auditWithinMs },
  )
  const answer = answerSchema.safeParse(jsonOf(stdout))
  if (!answer.success) {
    const said = stderr.trim().split('\n')[0] || `exit code ${code}`
    return { kind: 'failed', detail: `no answer: ${said}`, faults: 0, ledgers: [] }
  }
  const ledgers = answer.data.reports.filter((report) => epochs.some(({ epoch }) => epoch === report.epoch))
  const sum = (read: (ledger: (typeof ledgers)[number]) => number): number =>
    ledgers.reduce((total, ledger) => total + read(ledger), 0)
  const present = sum((ledger) => ledger.present.count)
  const told = ledgers.map(({ epoch, gaps, undelivered }) => ({ epoch, gaps, undelivered }))
  const faults = sum((ledger) => ledger.faultCount)
  if (ledgers.length === epochs.length && ledgers.every(({ ok }) => ok))
    return {
      kind: 'passed',
      detail: `${present} events in the ledger, none missing, chain intact`,
      faults,
      ledgers: told,
    }
  const found = `${sum((ledger) => ledger.gaps.count)} missing, ${faults} not as they were written`
  const earlier = faults === 0 && told.length > 0 && told.every((ledger) => isEarlier(ledger, epochs))
  return {
    kind: 'failed',
    detail: earlier ? `${found}; all of it from before this run` : found,
    faults,
    ledgers: told,
  }
}

/** Whether what is missing in a ledger was written before the run. */
function isEarlier({ epoch, gaps }: Ledger, epochs: readonly RunEpoch[]): boolean {
  const from = epochs.find((one) => one.epoch === epoch)?.from ?? 0
  const named = gaps.ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0)
  return named === gaps.count && gaps.ranges.every(([, last]) => last < from)
}
