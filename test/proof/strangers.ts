import { parseArgs } from 'node:util'
import { faultOf, strangeMessage } from './strange.ts'

const usage = `npm run fuzz -- [options]

Takes messages with AMQP properties and headers that nobody expects the way of an event that fails, in this process, through the
client's own decoder and encoder: each must come to be a letter that can be sent, and nothing may throw (G5).

  --messages N     how many (1000000)
  --seed N         the same ones again (by the clock)
`

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      messages: { type: 'string', default: '1000000' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(usage)
    return 0
  }
  const [messages, seed] = [whole('messages', values.messages), whole('seed', values.seed)]
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

function whole(name: string, text: string): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value
  throw new Error(`--${name} must be a whole number, and is ${text}`)
}

process.exitCode = await main()
