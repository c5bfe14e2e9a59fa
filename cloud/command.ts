import type { Command } from 'commander'
import { systemClock } from '../src/clock.ts'
import { createLog } from '../src/log.ts'
import { untilSignal } from '../src/lifecycle.ts'
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
    .action(async (options: { config?: string; check?: boolean }) => {
      const config = loadCloudConfig(options.config, process.env)
      if (options.check) {
        const { checkCloud } = await import('./check.ts')
        const { text, ok } = await checkCloud(config)
        process.stdout.write(`${text}\n`)
        process.exitCode = ok ? 0 : 1
        return
      }
      const { runCloud } = await import('./main.ts')
      await runCloud(config, {
        clock: systemClock,
        random: Math.random,
        log: createLog({ level: config.log.level, side: 'cloud', name: config.instance }),
        signal: untilSignal(process),
      })
    })
}
