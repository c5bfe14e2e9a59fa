import { tmpdir } from 'node:os'
import { programOf, wholeNumber } from '../../src/settings/command-line.ts'
import { runFlips } from './flip-runs.ts'
import { seedOption } from './seed.ts'
import { faultOf, strangeMessage } from './strange.ts'
import { faultOfPayload, strangeDecoders, strangePayload } from './strange-payloads.ts'
import { runUpgrade } from './upgrade.ts'

interface Options {
  messages: number
  payloads: number
  flips: number
  upgrade: number
  kills: number
  jobs: number
  seed: number
}

const options = programOf(
  'npm run fuzz --',
  `Takes messages with AMQP properties and headers that nobody expects the way of an event that fails, in this process, through the
client's own decoder and encoder: each must come to be a letter that can be sent, and nothing may throw (G5).
Payloads that no device means go through the decoder of each format: each must be refused or be JSON within its bounds (G7).
With --flips, single bytes of an outbox are flipped: nothing may be served altered, and what is not served must be named (G1, G2).
With --upgrade, an outbox of the layout before blocks is opened and drained, and killed on the way: nothing may be missing (G1, G4).`,
)
  .option('--messages <count>', 'how many', wholeNumber({ min: 0 }), 1_000_000)
  .option('--payloads <count>', 'how many in each format', wholeNumber({ min: 0 }), 200_000)
  .option(
    '--flips <every>',
    'flip every so manieth byte; 1: each, which takes an hour',
    wholeNumber({ min: 0 }),
    0,
  )
  .option('--upgrade <count>', 'events in the outbox of the layout before', wholeNumber({ min: 0 }), 0)
  .option('--kills <count>', 'kill -9 on the way of the upgrade', wholeNumber({ min: 0 }), 10)
  .option('--jobs <count>', 'processes that flip', wholeNumber({ max: 1000 }), 2)
  .addOption(seedOption())
  .parse()
  .opts<Options>()

async function messages({ messages: count, seed }: Options): Promise<number> {
  let faults = 0
  for (let index = 0; index < count; index++) {
    const fault = await faultOf(strangeMessage(seed, index))
    if (fault === undefined) continue
    faults += 1
    if (faults <= 10) say(`seed ${seed}, message ${index}: ${fault}`)
  }
  say(`seed ${seed}: ${count} messages, ${faults} at fault`)
  return faults
}

function payloads({ payloads: count, seed }: Options): number {
  let faults = 0
  for (const kind of Object.keys(strangeDecoders)) {
    let read = 0
    for (let index = 0; index < count; index++) {
      const payload = strangePayload(seed, index, kind)
      if (strangeDecoders[kind]?.(payload).ok) read += 1
      const fault = faultOfPayload(kind, payload)
      if (fault === undefined) continue
      faults += 1
      if (faults <= 10) say(`seed ${seed}, ${kind} ${index}: ${fault}: ${payload.toString('hex')}`)
    }
    say(`seed ${seed}: ${count} payloads as ${kind}, ${read} of them read, ${faults} at fault`)
  }
  return faults
}

async function flips({ flips: every, jobs }: Options): Promise<number> {
  const { flips, aborts, faults } = await runFlips({ every, jobs, say })
  for (const fault of faults.slice(0, 20)) say(fault)
  say(`${flips} bytes flipped, ${faults.length} at fault; LevelDB ended the process ${aborts} times`)
  return faults.length
}

async function upgrade({ upgrade: events, kills, seed }: Options): Promise<number> {
  const { faults, ...done } = await runUpgrade({ events, kills, seed, tmp: tmpdir(), say })
  for (const fault of faults.slice(0, 20)) say(fault)
  say(`seed ${seed}: ${JSON.stringify(done)}, ${faults.length} at fault`)
  return faults.length
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

async function main(): Promise<number> {
  const startedMs = performance.now()
  let faults = 0
  if (options.messages > 0) faults += await messages(options)
  if (options.payloads > 0) faults += payloads(options)
  if (options.flips > 0) faults += await flips(options)
  if (options.upgrade > 0) faults += await upgrade(options)
  say(`${Math.round((performance.now() - startedMs) / 1000)} s`)
  return faults === 0 ? 0 : 1
}

process.exitCode = await main()
