import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Closure, closureOf } from './closure.ts'

interface Manifest {
  version: string
  license: string
  engines: unknown
  dependencies: Readonly<Record<string, string>>
  devDependencies: Readonly<Record<string, string>>
}

const program = 'cli/tidegate.js'
/** Of the program's commands those that a project of consumers needs. */
const commands = ['../cloud/schemas/command.js', '../cloud/scaffolding/command.js']
const entries = ['cloud/consumer', 'cloud/testing/testing'] as const
/** Whoever tests on a server needs it not. */
const optional = '@electric-sql/pglite'

/**
 * Makes the package @tidegate/consumer of what is compiled: the types, the harness and the commands that a project of consumers needs, and
 * of the gateway no more than these import. Of the version that the gateway has.
 */
export function makeConsumerPackage(root: string, out: string): Closure {
  const dist = join(root, 'dist')
  const code = closureOf(dist, [...entries.map((entry) => `${entry}.js`), program, ...commandFiles()], {
    fileOf: (path) => path,
    isLeftOut: (specifier, from) =>
      specifier === optional ||
      (from === program && specifier.startsWith('../cloud/') ? true : isOtherSide(specifier, from)),
  })
  const types = closureOf(
    dist,
    entries.map((entry) => `${entry}.d.ts`),
    { fileOf: (path) => path.replace(/\.[jt]s$/, '.d.ts') },
  )
  rmSync(out, { recursive: true, force: true })
  for (const file of code.files) copy(dist, out, file, (text) => text)
  for (const file of types.files) copy(dist, out, file, namingCode)
  chmodSync(join(out, program), 0o755)
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest
  writeFileSync(join(out, 'package.json'), `${JSON.stringify(manifestOf(manifest, code), undefined, 2)}\n`)
  writeFileSync(join(out, 'LICENSE'), readFileSync(join(root, 'LICENSE')))
  writeFileSync(join(out, 'README.md'), readme)
  return { files: code.files, packages: [...new Set([...code.packages, ...types.packages])].toSorted() }
}

function commandFiles(): string[] {
  return commands.map((specifier) => join(dirname(program), specifier))
}

/** And what is made of both sides. */
function isOtherSide(specifier: string, from: string): boolean {
  return from === program && /^(?:\.\.\/(?:edge|dev|certs)|\.\/asyncapi)\//.test(specifier)
}

/** Compilers before 5.0 do not know a declaration by the name of its source. */
function namingCode(text: string): string {
  return text.replaceAll(/(\bfrom |\bimport\()(['"])(\.[^'"]*)\.ts\2/g, '$1$2$3.js$2')
}

function copy(dist: string, out: string, file: string, change: (text: string) => string): void {
  const to = join(out, file)
  mkdirSync(dirname(to), { recursive: true })
  writeFileSync(
    to,
    change(readFileSync(join(dist, file), 'utf8')).replace(/\/\/# sourceMappingURL=.*\s*$/, ''),
  )
}

function manifestOf(
  { version, license, engines, dependencies, devDependencies }: Manifest,
  code: Closure,
): object {
  return {
    name: '@tidegate/consumer',
    version,
    description: 'Consumers of Tidegate: types, and a harness that tests them behind the real pipeline',
    license,
    type: 'module',
    engines,
    bin: { tidegate: program },
    exports: {
      '.': exported(entries[0]),
      './testing': exported(entries[1]),
      './package.json': './package.json',
    },
    dependencies: Object.fromEntries(code.packages.map((name) => [name, dependencies[name]])),
    peerDependencies: { [optional]: devDependencies[optional] },
    peerDependenciesMeta: { [optional]: { optional: true } },
  }
}

function exported(entry: string): object {
  return { types: `./${entry}.d.ts`, default: `./${entry}.js` }
}

const readme = `# @tidegate/consumer

Consumers of [Tidegate](https://tidegate.dev): \`defineConsumer\` with typed events, and a harness that tests them.
docs/CONSUMERS.md of the gateway says how.
`
