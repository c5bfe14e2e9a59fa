import type { Command } from 'commander'
import { TidegateError } from '../../src/errors.ts'
import { systemClock } from '../../src/clock.ts'
import { durationOf } from '../../src/settings/command-line.ts'
import { addToSummary, emptySummary, formatLedger, formatSummary } from './report.ts'
import type { LedgerReport } from './audit.ts'
import { loadCloudConfig } from '../config.ts'
import { visible } from '../../src/visible.ts'

interface Options {
  config?: string
  database?: string
  gateway?: string
  settle?: number
  json?: boolean
}

/** `tidegate audit` */
export function registerAuditCommand(program: Command): void {
  program
    .command('audit')
    .description('prove per gateway that history is complete and untouched; exit code 1 if it is not')
    .option('-c, --config <file>', 'YAML configuration of the cloud, for its database')
    .option(
      '-d, --database <url>',
      'postgres:// URL, instead of a configuration; its password rather in the environment, where ps does not show it',
    )
    .option('-g, --gateway <name>', 'only this gateway')
    .option(
      '--settle <duration>',
      'take gaps younger than this as still on the way: reported, and no alarm',
      durationOf({ min: '0s' }),
    )
    .option('--json', 'one JSON object, for programs')
    .action(async (options: Options) => {
      const url = databaseOf(options, process.env)
      const { createDatabase } = await import('../database/database-postgres.ts')
      const { auditDatabase } = await import('./audit-postgres.ts')
      const database = createDatabase({ url, poolMax: 1, applicationName: 'tidegate-audit' })
      const { gateway, settle: settleMs } = options
      const summary = emptySummary()
      const ledgers: LedgerReport[] = []
      try {
        await database.probe()
        for await (const report of auditDatabase(database, { gateway, settleMs, nowMs: systemClock.now() })) {
          addToSummary(summary, report)
          if (options.json) ledgers.push(report)
          else print(visible(formatLedger(report)))
        }
      } finally {
        await database.close()
      }
      if (options.json) print(JSON.stringify({ ...summary, reports: ledgers }))
      if (!options.json) print(formatSummary(summary))
      if (!summary.ok) process.exitCode = 1
    })
}

/** @throws TidegateError `OPTIONS_INVALID` if nobody has said which, and as `loadCloudConfig` does */
function databaseOf({ config, database }: Options, env: NodeJS.ProcessEnv): string {
  if (database !== undefined) return database
  if (config === undefined && env[urlVariable] === undefined) {
    throw new TidegateError('OPTIONS_INVALID', {
      message: 'which database?',
      retryable: false,
      hint: `name the cloud's configuration (--config) or set ${urlVariable}; --database URL shows its password in ps`,
    })
  }
  return loadCloudConfig(config, env).database.url
}

const urlVariable = 'TIDEGATE_CLOUD__DATABASE__URL'

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
