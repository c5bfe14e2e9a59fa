import { programOf, wholeNumber } from '../../src/settings/command-line.ts'
import { faultOf, strangeMessage } from './strange.ts'

interface Options {
  messages: number
  seed: number
}

const { messages, seed } = programOf(
  'npm run fuzz --',
  `takes messages with AMQP properties and headers that nobody expects the way of an event that fails, in this process, through the
client's own decoder and encoder: each must come to be a letter that can be sent, and nothing may throw (G5)`,
)
  .option('--messages <count>', 'how many', wholeNumber(), 1_000_000)
  .option(
    '--seed <number>',
    'the same ones again; else by the clock',
    wholeNumber({ min: 0 }),
    Date.now() % 1_000_000,
  )
  .parse()
  .opts<Options>()

async function main(): Promise<number> {
  const startedMs = performance.now()
  let faults = 0
  for (let index = 0; index < messages; index++) {
    const fault = await faultOf(strangeMessage(seed, index))
    if (fault === undefined) continue
    faults += 1
    if (faults <= 10) process.stdout.write(`seed ${seed}, message ${index}: ${fault}\n`)
  }
  const seconds = Math.round((performance.now() - startedMs) / 1000)
  process.stdout.write(`seed ${seed}: ${messages} messages, ${faults} at fault, ${seconds} s\n`)
  return faults === 0 ? 0 : 1
}

process.exitCode = await main()
