import { Option } from 'commander'
import { wholeNumber } from '../../src/settings/command-line.ts'

/** `--seed`, of a proof that makes things up. */
export function seedOption(): Option {
  return new Option('--seed <number>', 'the same ones again; else by the clock')
    .argParser(wholeNumber({ min: 0 }))
    .default(Date.now() % 1_000_000)
}
