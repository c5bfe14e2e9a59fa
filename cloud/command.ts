import type { Command } from 'commander'
import { systemClock } from '../src/clock.ts'
import { openLog } from '../src/log.ts'
import { hangUpText, untilSignal } from '../src/lifecycle.ts'
import { loadCloudConfig } from './config.ts'

/** `tidegate cloud` */
export function registerCloudCommand(program: Command): void {
  program
    .command('cloud')
    .description('consume events from RabbitMQ into PostgreSQL: history, rollups and your own consumers')
    .option('-c, --config <file>', 'YAML configuration; see config/cloud.example.yaml')
    .option(
      '--check',
      'look at everything that can be looked at without starting, and end with 0 if it would start',
    )
    .option(
      '--migrate',
      'bring the database schema up to date as a member of tidegate_owner, give the roles their rights, and end',
    )
    .action(async (options: { config?: string; check?: boolean; migrate?: boolean }) => {
      const config = loadCloudConfig(options.config, process.env)
      if (options.check) {
        const { checkCloud } = await import('./check.ts')
        const { text, ok } = await checkCloud(config)
        process.stdout.write(`${text}\n`)
        process.exitCode = ok ? 0 : 1
        return
      }
      const { migrateCloud } = await import('./migrate.ts')
      const { runCloud } = await import('./main.ts')
      const { log, end } = openLog(
        { level: config.log.level, side: 'cloud', name: config.instance },
        systemClock,
      )
      const signal = untilSignal(process, { onHangUp: () => log.info(hangUpText) })
      try {
        const run = options.migrate ? migrateCloud : runCloud
        await run(config, { clock: systemClock, random: Math.random, log, signal })
      } finally {
        await end()
      }
    })
}
