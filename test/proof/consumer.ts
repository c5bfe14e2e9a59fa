import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The oldest compiler that is supported, with the oldest types of Node, and what is newest here. */
const compilers = ['5.0', '5.4', '5.9'] as const

const root = fileURLToPath(new URL('../../../', import.meta.url))
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
const tarball = join(root, 'build', `tidegate-consumer-${version}.tgz`)
const project = mkdtempSync(join(tmpdir(), 'tidegate-project-'))

/** What a user would do, in a folder that has nothing of this one. */
function run(file: string, ...args: string[]): void {
  console.log(`$ ${file} ${args.join(' ')}`)
  execFileSync(file, args, { cwd: project, stdio: 'inherit' })
}

const compilerOptions = {
  target: 'ES2022',
  module: 'ESNext',
  moduleResolution: 'bundler',
  allowImportingTsExtensions: true,
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noEmit: true,
  skipLibCheck: false,
  types: ['node'],
}

/**
 * Installs the tarball of @tidegate/consumer into an empty project, writes types and consumers there, has them compiled by the real old
 * compilers, and runs their tests with vitest and with node:test.
 */
function prove(): void {
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }')
  cpSync(join(root, 'schemas'), join(project, 'schemas'), { recursive: true })
  run('npm', 'install', '--no-audit', '--no-fund', tarball)
  tell('without PGlite')
  const tools = ['@electric-sql/pglite', 'vitest@4', '@types/node@20']
  const old = compilers.map((compiler) => `typescript-${compiler}@npm:typescript@~${compiler}.0`)
  run('npm', 'install', '--no-audit', '--no-fund', '--save-dev', ...tools, ...old)
  run('npx', 'tidegate', 'schema', 'types')
  run('npx', 'tidegate', 'schema', 'types', '--check')
  run('npx', 'tidegate', 'new', 'consumer', 'climate-log', '--type', 'com.acme.climate')
  run('npx', 'tidegate', 'new', 'consumer', 'power-log', '--type', 'com.acme.power', '--runner', 'node')
  run(
    'npx',
    'tidegate',
    'new',
    'consumer',
    'reading-log',
    '--type',
    'com.acme.reading',
    '--runner',
    'node',
    '--js',
  )
  const files = ['climate-log.ts', 'power-log.test.ts', 'tidegate-events.d.ts']
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
  for (const compiler of compilers) run('node', `node_modules/typescript-${compiler}/bin/tsc`, '-p', '.')
  run('npx', 'vitest', 'run', 'climate-log')
  run('node', '--test', 'reading-log.test.js')
  console.log('an empty project has types, compiles and tests its consumers')
}

/** What npm has installed. */
function tell(what: string): void {
  const lock = JSON.parse(readFileSync(join(project, 'node_modules/.package-lock.json'), 'utf8')) as {
    packages: object
  }
  const [kibibytes = ''] = execFileSync('du', ['-sk', 'node_modules'], {
    cwd: project,
    encoding: 'utf8',
  }).split('\t')
  console.log(
    `${Object.keys(lock.packages).length} packages, ${Math.round(Number(kibibytes) / 1024)} MiB ${what}`,
  )
}

try {
  prove()
} finally {
  rmSync(project, { recursive: true, force: true })
}
