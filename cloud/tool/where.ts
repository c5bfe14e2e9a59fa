import { type Command, Option } from 'commander'
import type { WhereAnswer } from '../api/rules/where-shapes.ts'
import { type Asking, asking, exitCodes, say, sayJson, withApi } from './session.ts'
import { whereText } from './where-text.ts'

const examples = `
Examples:
  tidegate where b9174e01-3f7d-4f0e-9a53-2b8f1f4f2c11 --config cloud.yaml
  tidegate where 4711 --source /devices/sensor-010 --config cloud.yaml

Exit codes: 0 found, 1 not found, 2 not understood, 3 refused.`

/** `tidegate where` */
export function registerWhereCommand(program: Command): void {
  asking(program.command('where'))
    .description('what has become of an event: every hop, with times')
    .argument('<id>', 'its ID, or the one that its device gave a rejected reading')
    .addOption(new Option('--source <source>', 'of this device: /devices/sensor-010'))
    .addHelpText('after', examples)
    .action(async (id: string, { source, ...options }: Asking & { source?: string }) =>
      withApi(options, async (client) => {
        const { body } = await client.get<WhereAnswer>('/v1/where', { id, source })
        if (options.json) sayJson(body)
        else say(whereText(body))
        if (body.found.length === 0) process.exitCode = exitCodes.notWell
      }),
    )
}
