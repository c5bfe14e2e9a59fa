import { z } from 'zod'
import { jsonOf, run } from '../servers/command.ts'

/** What `tidegate audit` said of the ledgers this run was written to. */
export interface Audit {
  kind: 'passed' | 'failed'
  detail: string
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

/** Runs `tidegate audit` as a user would, and judges the ledgers (epochs) that this run has written to. */
export async function audit(
  options: {
    cli: string
    configFile: string
    gateway: string
    epochs: readonly string[]
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
    return { kind: 'failed', detail: `no answer: ${said}`, ledgers: [] }
  }
  const ledgers = answer.data.reports.filter(({ epoch }) => epochs.includes(epoch))
  const sum = (read: (ledger: (typeof ledgers)[number]) => number): number =>
    ledgers.reduce((total, ledger) => total + read(ledger), 0)
  const present = sum((ledger) => ledger.present.count)
  const told = ledgers.map(({ epoch, gaps, undelivered }) => ({ epoch, gaps, undelivered }))
  return ledgers.length === epochs.length && ledgers.every(({ ok }) => ok)
    ? { kind: 'passed', detail: `${present} events in the ledger, none missing, chain intact`, ledgers: told }
    : {
        kind: 'failed',
        detail: `${sum((ledger) => ledger.gaps.count)} missing, ${sum((ledger) => ledger.faultCount)} not as they were written`,
        ledgers: told,
      }
}
