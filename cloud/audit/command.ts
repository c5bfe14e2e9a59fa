import { type Command, Option } from 'commander'
import { TidegateError } from '../../src/errors.ts'
import { systemClock } from '../../src/clock.ts'
import { durationOf } from '../../src/settings/command-line.ts'
import { addToSummary, emptySummary, formatLedger, formatSummary } from './report.ts'
import type { LedgerReport } from './audit.ts'
import { type CloudConfig, loadCloudConfig } from '../config.ts'
import { refuseInClear } from '../../src/settings/in-clear.ts'
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
    .addOption(
      new Option(
        '-d, --database <url>',
        'postgres:// URL without a password, instead of a configuration; with one it belongs in TIDEGATE_CLOUD__DATABASE__URL, where ps does not show it',
      ).conflicts('config'),
    )
    .option('-g, --gateway <name>', 'only this gateway')
    .option(
      '--settle <duration>',
      'take gaps younger than this as still on the way: reported, and no alarm',
      durationOf({ min: '0s' }),
    )
    .option('--json', 'one JSON object, for programs')
    .action(async (options: Options) => {
      const { url, passwordFile, insecure } = databaseOf(options, process.env)
      warnOfPassword(options)
      const { createDatabase } = await import('../database/database-postgres.ts')
      const { dialledBy } = await import('../database/url-postgres.ts')
      const { auditDatabase } = await import('./audit-postgres.ts')
      refuseInClear({ key: 'database.url', insecure, ...dialledBy(url) })
      const database = createDatabase({ url, passwordFile, poolMax: 1, applicationName: 'tidegate-audit' })
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
function databaseOf({ config, database }: Options, env: NodeJS.ProcessEnv): CloudConfig['database'] {
  if (database === undefined && config === undefined && env[urlVariable] === undefined) {
    throw new TidegateError('OPTIONS_INVALID', {
      message: 'which database?',
      retryable: false,
      hint: `name the cloud's configuration (--config) or set ${urlVariable}; --database URL shows its password in ps`,
    })
  }
  if (database === undefined) return loadCloudConfig(config, env).database
  // What else is set for a cloud does not concern this database.
  const ofInsecure = Object.entries(env).filter(([name]) => name.toUpperCase() === insecureVariable)
  return { ...loadCloudConfig(undefined, Object.fromEntries(ofInsecure)).database, url: database }
}

/** On standard error: the report is for programs too. */
function warnOfPassword({ database }: Options): void {
  if (database === undefined || !URL.canParse(database)) return
  const { password, searchParams } = new URL(database)
  if (password === '' && !searchParams.has('password')) return
  process.stderr.write(
    `tidegate: ps shows every user of this machine the password in --database; put the URL in ${urlVariable} instead\n`,
  )
}

const urlVariable = 'TIDEGATE_CLOUD__DATABASE__URL'
const insecureVariable = 'TIDEGATE_CLOUD__DATABASE__INSECURE'

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
