import { accessSync, constants, existsSync } from 'node:fs'
import { join } from 'node:path'
import { installPackages } from '../../dev/servers/install.ts'

/** Stock programs by the name of their binary, and Debian's package that has it. */
const packages = {
  mosquitto: 'mosquitto',
  mosquitto_pub: 'mosquitto-clients',
  'amqp-get': 'amqp-tools',
  jq: 'jq',
  psql: 'postgresql-client',
  strace: 'strace',
} as const

export type StockClient = keyof typeof packages

/** Installs those that this machine lacks. @throws TidegateError as `installPackages` */
export async function obtainClients(...clients: StockClient[]): Promise<void> {
  await install(clients.filter((client) => !isInstalled(client)).map((client) => packages[client]))
}

/** Installs a package that has no program, if this file or folder of it is not there. @throws TidegateError as `installPackages` */
export async function obtainPackage(name: string, file: string): Promise<void> {
  await install(existsSync(file) ? [] : [name])
}

async function install(names: readonly string[]): Promise<void> {
  if (names.length === 0) return
  await installPackages(
    { title: 'stock clients', names, units: ['mosquitto'] },
    { say: (line) => console.log(line) },
  )
}

function isInstalled(file: string): boolean {
  return searchedIn().some((folder) => {
    try {
      accessSync(join(folder, file), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Debian keeps what serves in /usr/sbin, where only root looks. */
function searchedIn(): string[] {
  return [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin']
}
