import { readFileSync } from 'node:fs'
import { cloudCuts, sidingCuts } from './cloud-cuts.ts'
import { edgeCuts } from './edge-cuts.ts'
import type { CutsOptions, CutsResult } from './result.ts'

export type Kind = 'edge' | 'sidings' | 'cloud'

/** What main.ts gives a process of its own, as its argument. */
export interface Task extends Omit<CutsOptions, 'tls' | 'onRound'> {
  kind: Kind
  /** Files. */
  tls: { ca: string; cert: string; key: string }
  seed: number
}

const runs = { edge: edgeCuts, sidings: sidingCuts, cloud: cloudCuts }

const { kind, tls, ...options } = JSON.parse(process.argv[2] as string) as Task
const print = (result: CutsResult): void => void process.stdout.write(`${JSON.stringify(result)}\n`)
const files = { ca: readFileSync(tls.ca), cert: readFileSync(tls.cert), key: readFileSync(tls.key) }
let rounds = 0
print(
  await runs[kind]({
    ...options,
    tls: files,
    onRound: (soFar) => {
      if (++rounds % 100 === 0) print(soFar)
    },
  }),
)
