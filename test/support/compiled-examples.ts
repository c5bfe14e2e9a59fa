import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** What a user's project says to the compiler, with our packages where they are compiled to. */
const compilerOptions = {
  target: 'ES2022',
  module: 'ESNext',
  moduleResolution: 'bundler',
  lib: ['ES2023', 'ESNext.Disposable'],
  types: ['node'],
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  noEmit: true,
  skipLibCheck: true,
  allowImportingTsExtensions: true,
  paths: Object.fromEntries(
    ['@tidegate', 'tidegate'].flatMap((name) => [
      [name === 'tidegate' ? 'tidegate/consumer' : '@tidegate/consumer', [`${root}dist/cloud/consumer.d.ts`]],
      [
        name === 'tidegate' ? 'tidegate/testing' : '@tidegate/consumer/testing',
        [`${root}dist/cloud/testing/testing.d.ts`],
      ],
    ]),
  ),
}

/** What the compiler says of some files, by themselves, with a tsconfig.json of theirs if they have one; nothing: they are right. */
export function compiled(files: Readonly<Record<string, string>>): string {
  mkdirSync(join(root, '.tidegate'), { recursive: true })
  const folder = mkdtempSync(join(root, '.tidegate', 'compiled-'))
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), text)
    }
    const own = files['tsconfig.json']
    const options =
      own === undefined
        ? compilerOptions
        : {
            ...(JSON.parse(own) as { compilerOptions: object }).compilerOptions,
            paths: compilerOptions.paths,
          }
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: options, include: ['**/*.ts'] }),
    )
    const tsc = join(root, 'node_modules/.bin/tsc')
    const { stdout, stderr } = spawnSync(tsc, ['-p', folder], { encoding: 'utf8', cwd: folder })
    return `${stdout}${stderr}`.trim()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
