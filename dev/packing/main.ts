import { fileURLToPath } from 'node:url'
import { makeConsumerPackage } from './consumer-package.ts'

const fromRoot = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url))

const out = fromRoot('build/consumer')
const { files, packages } = makeConsumerPackage(fromRoot(''), out)
process.stdout.write(`${out}: ${files.length} modules, which need ${packages.join(', ')}\n`)
