import type { Command } from 'commander'
import { systemClock } from '../../src/clock.ts'
import { durationOf } from '../../src/settings/command-line.ts'
import { addToSummary, emptySummary, formatLedger, formatSummary } from './report.ts'
import { addAcceptCommand } from '../deeds/accept-command.ts'
import type { Registry } from '../gateways/registry.ts'
import type { LedgerReport } from './audit.ts'
import { askingForDatabase, type DatabaseChoice, openChosenDatabase } from '../database-choice.ts'
import { visible } from '../../src/visible.ts'

interface Options extends DatabaseChoice {
  gateway?: string
  settle?: number
  json?: boolean
  heads?: string
  against?: string
  trust?: string[]
}

/** `tidegate audit` */
export function registerAuditCommand(program: Command): void {
  const audit = askingForDatabase(program.command('audit'))
  addAcceptCommand(audit)
  audit
    .description('prove per gateway that history is complete and untouched; exit code 1 if it is not')
    .option('-g, --gateway <name>', 'only this gateway')
    .option(
      '--settle <duration>',
      'take gaps younger than this as still on the way: reported, and no alarm',
      durationOf({ min: '0s' }),
    )
    .option(
      '--heads <file>',
      'write the newest signed heads and the keys of the gateways, to be kept elsewhere',
    )
    .option('--against <file>', 'demand that the heads written to it before are still there')
    .option(
      '--trust <fingerprint...>',
      'with --against: keys that are registered, not in the file, and were compared at the gateway',
    )
    .option('--json', 'one JSON object, for programs')
    .action(async (options: Options) => {
      const database = await openChosenDatabase(options, 'tidegate-audit')
      const { auditDatabase } = await import('./audit-postgres.ts')
      const { gateway, settle: settleMs } = options
      const { HeadsToKeep, readHeads, writeHeads } = await import('./heads.ts')
      const trusted = options.trust ?? []
      const kept =
        options.against === undefined ? undefined : { ...(await readHeads(options.against)), trusted }
      const heads = new HeadsToKeep(kept)
      let registry: Registry | undefined
      const asked = { gateway, settleMs, kept, onRegistry: (read: Registry) => void (registry = read) }
      const summary = emptySummary()
      const ledgers: LedgerReport[] = []
      try {
        await database.probe()
        for await (const report of auditDatabase(database, { ...asked, nowMs: systemClock.now() })) {
          addToSummary(summary, report)
          heads.add(report)
          if (options.json) ledgers.push(report)
          else print(visible(formatLedger(report)))
        }
      } finally {
        await database.close()
      }
      if (options.heads !== undefined && registry) await writeHeads(options.heads, heads.of(registry))
      if (options.json) print(JSON.stringify({ ...summary, reports: ledgers }))
      if (!options.json) print(formatSummary(summary))
      if (!summary.ok) process.exitCode = 1
    })
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
