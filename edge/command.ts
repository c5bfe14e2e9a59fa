import { isatty } from 'node:tty'
import type { Command } from 'commander'
import { systemClock } from '../src/clock.ts'
import { untilSignal } from '../src/lifecycle.ts'
import { openLog } from '../src/log.ts'
import { loadEdgeConfig } from './config.ts'
import type { StartedEdge } from './main.ts'

/** A stop that takes longer than this is cut short: what was acknowledged is on disk all the same (G1). */
const stopMsMax = 10_000

/** `tidegate edge` */
export function registerEdgeCommand(program: Command): void {
  program
    .command('edge')
    .description('take events from devices over MQTT, keep them, forward them to RabbitMQ')
    .option('-c, --config <file>', 'YAML configuration; see config/edge.example.yaml')
    .addHelpText(
      'after',
      `
Every key can also be set in the environment, which wins over the file:
  TIDEGATE_EDGE__UPLINK__URL=amqps://… tidegate edge --config edge.yaml`,
    )
    .option(
      '--check',
      'look at everything that can be looked at without starting, and end with 0 if it would start',
    )
    .action(async (options: { config?: string; check?: boolean }) => {
      const config = loadEdgeConfig(options.config, process.env)
      if (options.check) {
        const { checkEdge } = await import('./check.ts')
        const { text, ok } = await checkEdge(config, new Date(systemClock.now()))
        process.stdout.write(`${text}\n`)
        process.exitCode = ok ? 0 : 1
        return
      }
      const { log, end } = openLog(
        { level: config.log.level, side: 'edge', name: config.gateway },
        systemClock,
      )
      let reload = (): unknown => log.warn('SIGHUP: it has not started yet')
      const onHangUp = (): void => log.info('SIGHUP: the terminal has gone; stopping in good order')
      const inTerminal = isatty(0) || isatty(1)
      const signal = untilSignal(process, inTerminal ? { onHangUp } : {})
      // From now on, or a hang-up during the start would end the process.
      if (!inTerminal) process.on('SIGHUP', () => reload())
      signal.addEventListener(
        'abort',
        () => {
          log.info('stopping')
          systemClock.after(stopMsMax, () => {
            log.error({ code: 'STOP_TIMEOUT' }, `not everything has stopped within ${stopMsMax} ms`)
            process.exit(1)
          })
        },
        { once: true },
      )
      // Whatever is made is for this user alone: what lies in the data folder are readings.
      process.umask(0o077)
      const { runEdge } = await import('./main.ts')
      try {
        const onStarted = (started: StartedEdge): unknown => (reload = started.reload)
        await runEdge(config, { clock: systemClock, random: Math.random, log, signal, onStarted })
      } finally {
        await end()
      }
    })
}
