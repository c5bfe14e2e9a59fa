import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { containerPlan, fetchImage, inContainer, removeContainer } from '../docker.ts'
import type { PostgresPlace, PostgresRequest } from './place.ts'

const image = 'postgres:16'

/** The same server in Docker's official image. Its `pid` is the Docker client's. */
export async function postgresInDocker(
  { dir, port, user, password }: PostgresRequest,
  options: { say: (line: string) => void; signal?: AbortSignal },
): Promise<PostgresPlace> {
  await fetchImage(image, options)
  await removeContainer(dir)
  const conf = join(dir, 'conf')
  mkdirSync(conf, { recursive: true, mode: 0o700 })
  writeFileSync(join(conf, 'password'), password, { mode: 0o600 })
  return {
    plan: containerPlan({
      image,
      dir,
      dataPath: '/var/lib/postgresql/data',
      ports: { 5432: port },
      env: { POSTGRES_USER: user, POSTGRES_PASSWORD_FILE: '/etc/tidegate/password', TZ: 'UTC' },
      stopSignal: 'SIGINT',
    }),
    psql: (args) => inContainer(dir, ['psql', `--username=${user}`, '--dbname=postgres', ...args]),
  }
}
