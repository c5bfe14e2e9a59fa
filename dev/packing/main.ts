import { fileURLToPath } from 'node:url'
import { resolve } from 'node:path'
import { makeConsumerPackage } from './consumer-package.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const out = resolve(process.argv[2] ?? 'build/consumer')
const { files, packages } = makeConsumerPackage(root, out)
console.log(`${out}: ${files.length} modules, which need ${packages.join(', ')}; npm pack ${out}`)
