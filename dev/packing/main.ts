import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeConsumerPackage } from './consumer-package.ts'

const fromRoot = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url))

const out = fromRoot('build/consumer')
const { files, packages } = makeConsumerPackage(fromRoot(''), out)
const { version } = JSON.parse(readFileSync(join(out, 'package.json'), 'utf8')) as { version: string }
process.stdout.write(`${out}: ${files.length} modules, which need ${packages.join(', ')}\n`)
process.stdout.write(`the tarball: ${fromRoot(`build/tidegate-consumer-${version}.tgz`)}\n`)
