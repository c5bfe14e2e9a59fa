import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { TidegateError } from '../../src/errors.ts'
import { type Command, run, tail } from './command.ts'
import type { LeashPlan } from './leash.ts'

export interface Container {
  image: string
  /** Holds `conf` (mounted at /etc/tidegate, read-only) and `docker-data` (mounted at `dataPath`). */
  dir: string
  dataPath: string
  /** Loopback port by container port. */
  ports: Record<number, number>
  env: Record<string, string>
  stopSignal: LeashPlan['stopSignal']
}

/** Fetches the image if need be. @throws TidegateError `SERVER_INSTALL_FAILED` */
export async function fetchImage(
  image: string,
  { say, signal }: { say: (line: string) => void; signal?: AbortSignal },
): Promise<void> {
  if ((await docker(['image', 'inspect', image])).code === 0) return
  say(`Fetching ${image} for Docker (docker pull ${image}) …`)
  const pulled = await docker(['pull', '--quiet', image], signal)
  if (pulled.code === 0) return
  throw new TidegateError('SERVER_INSTALL_FAILED', {
    message: `Docker could not fetch ${image}: ${tail(pulled.stderr, 4)}`,
    retryable: true,
    hint: `Run "docker pull ${image}" and see what it says.`,
  })
}

/** Runs the container in the foreground; `docker rm` ends it where killing the client would not. */
export function containerPlan(container: Container): LeashPlan {
  const { dir, image, dataPath, ports, env } = container
  const name = containerName(dir)
  mkdirSync(join(dir, 'docker-data'), { recursive: true, mode: 0o700 })
  const args = ['run', '--rm', '--name', name, '--hostname', 'tidegate']
  args.push(
    '--volume',
    `${join(dir, 'conf')}:/etc/tidegate:ro`,
    '--volume',
    `${join(dir, 'docker-data')}:${dataPath}`,
  )
  // As root the images step down to their own user; otherwise the data stays the caller's to delete.
  const uid = process.getuid?.() ?? 0
  if (uid !== 0) args.push('--user', `${uid}:${process.getgid?.() ?? uid}`)
  for (const [inside, outside] of Object.entries(ports))
    args.push('--publish', `127.0.0.1:${outside}:${inside}`)
  for (const [key, value] of Object.entries(env)) args.push('--env', `${key}=${value}`)
  return {
    helpers: [],
    server: { file: 'docker', args: [...args, image], env: process.env, cwd: '/' },
    cleanup: { file: 'docker', args: ['rm', '--force', name], env: process.env, cwd: '/' },
    stopSignal: container.stopSignal,
    graceMs: 20_000,
    consoleFile: join(dir, 'console.log'),
  }
}

/** Removes what a run left behind that was killed together with its leash. */
export async function removeContainer(dir: string): Promise<void> {
  await docker(['rm', '--force', containerName(dir)])
}

export function inContainer(dir: string, command: readonly string[]): Command {
  return { file: 'docker', args: ['exec', containerName(dir), ...command], env: process.env }
}

function containerName(dir: string): string {
  return `tidegate-${createHash('sha256').update(dir).digest('hex').slice(0, 12)}`
}

function docker(args: readonly string[], signal?: AbortSignal): ReturnType<typeof run> {
  return run({ file: 'docker', args, env: process.env }, signal && { signal })
}
