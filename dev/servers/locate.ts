import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.ts'
import { installPackages, type Packages } from './install.ts'

/** Where a server comes from: a folder of installed binaries, or Docker. */
export type Origin = { how: 'installed'; bin: string } | { how: 'docker' }

export interface LocateOptions {
  say: (line: string) => void
  signal?: AbortSignal
}

const rabbitPackages: Packages = {
  title: 'RabbitMQ',
  names: ['rabbitmq-server'],
  units: ['rabbitmq-server.service', 'epmd.service', 'epmd.socket'],
}
const postgresPackages: Packages = { title: 'PostgreSQL', names: ['postgresql'], units: [] }

/** Installed, else Docker, else Debian's packages. */
export function locateRabbit(options: LocateOptions): Promise<Origin> {
  return locate(installedRabbit, rabbitPackages, options)
}

/** As `locateRabbit`. `major` asks for the version that wrote an existing data folder. */
export function locatePostgres(options: LocateOptions & { major?: string }): Promise<Origin> {
  return locate(() => installedPostgres(options.major), postgresPackages, options)
}

async function locate(
  find: () => string | undefined,
  packages: Packages,
  options: LocateOptions,
): Promise<Origin> {
  const installed = find()
  if (installed !== undefined) return { how: 'installed', bin: installed }
  if (await dockerAnswers()) return { how: 'docker' }
  await installPackages(packages, options)
  const bin = find()
  if (bin === undefined)
    throw new Error(`${packages.title} was installed but its binaries are not where Debian puts them`)
  return { how: 'installed', bin }
}

/** The scripts behind Debian's wrappers in /usr/sbin, which switch to the system-wide user and folders. */
function installedRabbit(): string | undefined {
  const bin = '/usr/lib/rabbitmq/bin'
  return existsSync(join(bin, 'rabbitmq-server')) ? bin : undefined
}

function installedPostgres(major?: string): string | undefined {
  const root = '/usr/lib/postgresql'
  if (!existsSync(root)) return undefined
  return readdirSync(root)
    .filter((version) => major === undefined || version === major)
    .toSorted((a, b) => Number(b) - Number(a))
    .map((version) => join(root, version, 'bin'))
    .find((bin) => existsSync(join(bin, 'initdb')) && existsSync(join(bin, 'postgres')))
}

async function dockerAnswers(): Promise<boolean> {
  const asked = await run(
    { file: 'docker', args: ['info', '--format', '{{.ServerVersion}}'] },
    { timeoutMs: 3_000 },
  )
  return asked.code === 0 && asked.stdout.trim() !== ''
}
